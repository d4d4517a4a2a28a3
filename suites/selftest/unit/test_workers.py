"""`pytest -n` with real workers, some of which are really killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

CONFTEST = f"""
import os, pathlib, sys, time
import pytest
sys.path.insert(0, {str(ROOT)!r})
pytest_plugins = ["harness.plugin"]

from harness.plugin.run import KEY
from harness.steps import Spent, attach, step

HERE = pathlib.Path(__file__).parent

@pytest.fixture
def remark(request):
    return request.config.stash[KEY].remarks.append

@pytest.fixture(scope="session")
def bed(pytestconfig):
    with step("Provision", Spent.PROVISIONING):
        time.sleep(1.1)
    pytestconfig.stash[KEY].note_environment({{"Kernel": "6.1"}})
    yield
    with step("Remove", Spent.CONFIGURATION):
        time.sleep(float(os.environ.get("REMOVE_S", "0.2")))
    (HERE / f"removed-{{os.getpid()}}").touch()
"""

MIXED = '''
"""Losing a path."""
import os, pathlib, signal, time
import pytest
from harness.errors import VerdictFailed
from harness.steps import attach

@pytest.fixture
def fatal():
    yield
    os._exit(3)

@pytest.mark.parametrize("number", [1, 2])
def test_passes(bed, remark, number):
    """Writes survive."""
    remark(f"stall of test {number}")
    attach("evidence", f"of {number}")

def test_storage_breaks(bed):
    raise VerdictFailed("lost data")

def test_kills_its_worker_once(bed, remark):
    """Once."""
    attach("evidence", "of an attempt")
    remark("survived")
    try:
        pathlib.Path(__file__).with_name("killed").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def test_kills_every_worker(bed):
    os.kill(os.getpid(), signal.SIGKILL)

def test_passes_and_its_worker_dies(bed, remark, fatal):
    remark("said before the worker died")
'''

SLOW = """
import time, pathlib

def test_a(bed):
    pathlib.Path(__file__).with_name("running-a").touch()
    time.sleep(60)

def test_b(bed):
    pathlib.Path(__file__).with_name("running-b").touch()
    time.sleep(60)
"""


def command(folder: Path, tests: str, *options: str) -> list[str]:
    """A suite of its own in `folder`, and how to run it."""
    suite = folder / "suites" / "failover"
    suite.mkdir(parents=True)
    (folder / "conftest.py").write_text(CONFTEST)
    (suite / "test_loss.py").write_text(tests)
    return [
        sys.executable, "-m", "pytest", "--rootdir", str(folder), "-p", "no:cacheprovider",
        "--import-mode=importlib", "-ra", "suites", *options,
    ]  # fmt: skip


@dataclass
class Ran:
    """A run that is over."""

    folder: Path
    status: int
    said: str

    @property
    def results(self) -> list[dict[str, Any]]:
        paths = self.folder.glob("reports/out/2*/results/*-result.json")
        return [json.loads(path.read_text()) for path in paths]

    def result(self, test: str) -> dict[str, Any]:
        (one,) = [one for one in self.results if one["fullName"].endswith(f"#{test}")]
        return one


def run(folder: Path, tests: str, *options: str) -> Ran:
    done = subprocess.run(
        command(folder, tests, *options), cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip
    return Ran(folder, done.returncode, done.stdout)


def labels(result: dict[str, Any]) -> dict[str, str]:
    return {label["name"]: label["value"] for label in result["labels"]}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("mixed"), MIXED, "-n", "2", "--junitxml", "junit.xml")


def test_what_died_is_run_again_once_and_then_the_lab_is_to_blame(mixed: Ran) -> None:
    """A death that a second attempt survives is no failure; every test is counted once."""
    assert re.search(r"=+ 1 failed, 4 passed, (\d+ warnings?, )?1 error, 2 rerun in", mixed.said), (
        mixed.said
    )
    assert mixed.status == 1
    assert "ERROR at call of test_kills_every_worker" in mixed.said
    assert "died while running this test, as another worker had before" in mixed.said


def test_the_results_hold_every_test_once(mixed: Ran) -> None:
    """Also those whose worker died before it could write one."""
    assert Counter(one["fullName"].partition("#")[2] for one in mixed.results) == {
        "test_passes": 2,
        "test_storage_breaks": 1,
        "test_kills_its_worker_once": 1,
        "test_kills_every_worker": 1,
        "test_passes_and_its_worker_dies": 1,
    }
    assert mixed.result("test_kills_its_worker_once")["status"] == "passed"
    assert mixed.result("test_passes_and_its_worker_dies")["status"] == "passed"
    blamed = mixed.result("test_kills_every_worker")
    assert blamed["status"] == "broken"
    assert labels(blamed)["verdict"] == "lab"
    assert "died while running this test" in blamed["statusDetails"]["message"]
    assert labels(mixed.result("test_storage_breaks"))["verdict"] == "storage"


def test_no_evidence_of_a_dead_attempt_is_left(mixed: Ran) -> None:
    """Two tests that passed have theirs, and the second attempt."""
    evidence = sorted(p.read_text() for p in mixed.folder.glob("reports/out/2*/results/*.txt"))
    assert evidence == ["of 1", "of 2", "of an attempt"]


def test_results_name_their_worker(mixed: Ran) -> None:
    """They have the same labels as those of a run without workers."""
    for one in mixed.results:
        assert re.fullmatch(r"gw\d", labels(one)["thread"])
        assert labels(one)["epic"] == "I/O survives path loss"
    workers = {labels(one)["thread"] for one in mixed.results}
    assert len(workers) > 1


def test_the_summary_says_what_the_tests_said(mixed: Ran) -> None:
    """What a phase said that was over when its worker died is not lost, and nothing comes twice."""
    for remark in ("stall of test 1", "stall of test 2", "said before the worker died"):
        assert len(re.findall(f"^{remark}$", mixed.said, re.MULTILINE)) == 1
    assert len(re.findall("^survived$", mixed.said, re.MULTILINE)) == 1


def test_the_summary_names_the_workers_that_died(mixed: Ran) -> None:
    """With the test that each was running."""
    for test, end in (
        ("test_kills_its_worker_once", ", which is run again"),
        ("test_kills_every_worker", ", which is run again"),
        ("test_kills_every_worker", " again"),
    ):
        pattern = rf"^worker gw\d died while running suites/failover/test_loss.py::{test}{end}$"
        assert len(re.findall(pattern, mixed.said, re.MULTILINE)) == 1
    assert re.search(r"worker gw\d died after \S+_its_worker_dies passed; that stands", mixed.said)


def test_the_summary_adds_up_the_workers_time(mixed: Ran) -> None:
    """Steps of the workers are billed, and the pace is sum over wall clock."""
    assert "on the wall clock, for each of 2 workers" in mixed.said
    bill = re.search(r"provisioning +(\d+\.\d) s", mixed.said)
    assert bill is not None
    assert float(bill[1]) >= 3 * 1.1
    pace = re.search(
        r"^2 workers: (\d+) s for (\d+) s of tests, (\d+\.\d\d) times", mixed.said, re.M
    )
    assert pace is not None
    wall_s, tests_s, times = map(float, pace.groups())
    assert (tests_s - 0.5) / (wall_s + 0.5) - 0.01 < times < (tests_s + 0.5) / (wall_s - 0.5) + 0.01


def test_everything_that_is_told_is_a_line_of_its_own(mixed: Ran) -> None:
    """Steps by the workers and outcomes by their controller, in one form."""
    told = [line for line in mixed.said.splitlines() if re.search(r"\[gw\d +\d+\.\d s\]", line)]
    form = r"\[gw\d +\d+\.\d s\] (Provision …( \d+\.\d s)?|(PASSED|FAILED|ERROR|RERUN) suites/\S+)"
    assert [line for line in told if not re.fullmatch(form, line)] == []
    assert len([line for line in told if "Provision" in line]) >= 4
    assert len([line for line in told if "suites/" in line]) == 8
    assert mixed.said.count("results: ") == 1


def test_junit_has_every_test_once_and_nothing_of_what_travels(mixed: Ran) -> None:
    """No attempt that does not count; of properties, the verdict."""
    tree = ET.parse(mixed.folder / "junit.xml")
    assert sorted(one.get("name", "") for one in tree.iter("testcase")) == [
        "test_kills_every_worker",
        "test_kills_its_worker_once",
        "test_passes[1]",
        "test_passes[2]",
        "test_passes_and_its_worker_dies",
        "test_storage_breaks",
    ]
    assert {one.get("name") for one in tree.iter("property")} == {"verdict"}


def test_the_front_page_says_what_workers_ran_on(mixed: Ran) -> None:
    """One file, whoever wrote it last."""
    (file,) = mixed.folder.glob("reports/out/2*/results/environment*")
    found, *rest = file.read_text().splitlines()
    counts = "1 failed, 1 with an error of the lab, 4 passed"
    assert (found, rest) == (f"Verdict=fail: of 6 tests {counts}", ["Kernel=6.1"])


def test_without_workers_it_is_the_same(tmp_path: Path) -> None:
    """The same remarks, bill and results, and nothing said of workers."""
    ran = run(tmp_path, MIXED, "-k", "test_passes and not dies", "-n", "0")
    assert "2 passed" in ran.said
    assert re.search(r"^stall of test 1\nstall of test 2$", ran.said, re.MULTILINE)
    assert re.search(r"provisioning +[1-9]\d*\.\d s", ran.said)
    assert re.search(r"configuration +(0\.[2-9]|[1-9]\d*\.\d) s", ran.said)
    assert len(ran.results) == 2
    assert re.search(r"\bworkers?\b", ran.said) is None
    assert re.search(r"^\[ +\d+\.\d s\] Provision … \d+\.\d s$", ran.said, re.MULTILINE)


def test_tests_without_a_worker_that_is_left_are_errors(tmp_path: Path) -> None:
    """Fewer tests than asked for must not look like success."""
    ran = run(
        tmp_path, MIXED, "-k", "kills or storage", "-n", "1", "--max-worker-restart", "0"
    )  # fmt: skip
    assert ran.status == 1
    assert ran.said.count("not run to its end: too many workers died") >= 2
    assert len(ran.results) == 3
    for test in ("test_kills_its_worker_once", "test_kills_every_worker"):
        assert labels(ran.result(test))["verdict"] == "lab"


@pytest.mark.parametrize(
    ("number", "to_all"), [(signal.SIGTERM, False), (signal.SIGINT, True)], ids=["term", "ctrl-c"]
)
def test_an_interrupted_run_cleans_up_in_every_worker(
    tmp_path: Path, number: signal.Signals, to_all: bool
) -> None:
    """Told to the controller alone, or to all as by a terminal; however slow the clean-up is."""
    with subprocess.Popen(
        command(tmp_path, SLOW, "-n", "2"), cwd=tmp_path, env={**os.environ, "REMOVE_S": "7"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("suites/failover/running-*"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (os.killpg if to_all else os.kill)(process.pid, number)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert len(list(tmp_path.glob("removed-*"))) == 2, said
    assert "KeyboardInterrupt" in said
    assert re.search(r"configuration +1[4-9]\.\d s", said)
    assert Ran(tmp_path, process.returncode, said).results == []  # it is not known what they were


def test_ways_to_distribute_that_count_twice_are_refused(tmp_path: Path) -> None:
    """xdist would itself run again what died, or run every test everywhere."""
    ran = run(tmp_path, SLOW, "-n", "2", "--dist", "loadscope")
    assert ran.status == 4
    assert "--dist loadscope" in ran.said
    assert "use load or worksteal" in ran.said
