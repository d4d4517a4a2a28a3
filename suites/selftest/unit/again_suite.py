"""A suite that stands in for one with testbeds, whose tests are measured again; and a run of it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.reporting.verdict_document import VerdictDocument
from suites.selftest.unit.small_suite import run_suite

CONFTEST = """
import pathlib, uuid
from contextlib import contextmanager
from types import SimpleNamespace
import pytest
from harness.config import Config
from harness.errors import TimedOut

HERE = pathlib.Path(__file__).parent

def note(what):
    with (HERE / "noted").open("a") as file:
        file.write(what + "\\n")

class Supply:
    '''Stand-ins for testbeds.'''
    lacking = ()

    @contextmanager
    def lent(self, owner):
        note("testbed")
        yield SimpleNamespace(environment={"Kernel": "6.1"}, config=Config(), lacking=())
        if (HERE / "hangs").exists():
            raise TimedOut("the machines cannot be removed")
        note("testbed gone")

    def renew(self):
        note("renewed")

    def keep(self):
        return "pathproof-1"

@pytest.fixture(scope="session")
def testbeds():
    note("supply")
    yield Supply()
    note("supply gone")

@pytest.fixture(scope="module")
def of_the_module():
    yield
    note("module gone")

@pytest.fixture
def broken_clean_up():
    yield
    raise TimedOut("the machine does not go down")

@pytest.fixture
def attempt(request, testbed):
    note(request.node.name)
    return (HERE / "noted").read_text().split("\\n").count(request.node.name)
"""
HEAD = '''
"""Losing a path."""
from harness.checks import Check, Finding, Verdict, stall_within_budget
from harness.errors import TimedOut
from suites.selftest.unit.synthetic_failover import failover

BUSY = "the host was too busy to compare"

def saying(verdict):
    finding = Finding("latency recovered", Verdict(verdict), BUSY)
    return Check("latency recovered", lambda _: finding)
'''
BUSY = "latency recovered: unknown: the host was too busy to compare"
ONCE = '''
def test_busy_once(judge, attempt):
    """Writes survive."""
    print(f"this is attempt {attempt}")
    verdict = "unknown" if attempt == 1 else "pass"
    judge(failover(), stall_within_budget(), saying(verdict)).require()
'''


@dataclass
class Ran:
    """A run that is over."""

    folder: Path
    done: subprocess.CompletedProcess[str]

    @property
    def said(self) -> str:
        return self.done.stdout

    @property
    def ending(self) -> list[str]:
        """What is printed after pytest's own last line."""
        lines = self.said.splitlines()
        last = max(number for number, line in enumerate(lines) if re.match(r"=+ .* in .*=$", line))
        return lines[last + 1 :]

    @property
    def noted(self) -> list[str]:
        return (self.folder / "noted").read_text().splitlines()

    def verdicts(self, pattern: str) -> dict[str, VerdictDocument]:
        files = self.folder.glob(f"reports/out/2*/verdicts/{pattern}")
        documents = [VerdictDocument.model_validate_json(file.read_text()) for file in files]
        return {one.test.partition("::")[2]: one for one in documents}

    def results(self, test: str) -> list[dict[str, Any]]:
        """Of Allure, in the order in which they began."""
        files = self.folder.glob("reports/out/2*/results/*-result.json")
        every = [json.loads(file.read_text()) for file in files]
        return sorted(
            (one for one in every if one["fullName"].endswith(f"#{test}")),
            key=lambda one: int(one["start"]),
        )


def run(folder: Path, *options: str, tests: str = HEAD + ONCE) -> Ran:
    return Ran(folder, run_suite(folder, tests, *options, conftest=CONFTEST))
