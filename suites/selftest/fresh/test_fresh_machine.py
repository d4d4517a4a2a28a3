"""What `./bootstrap` installs is all that the main job needs: tried where there is nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from suites.selftest.fresh.machine import FreshMachine, fresh_machine, missing
from suites.selftest.fresh.outcome import accepted, only_verdict

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

REPORTS = "/srv/reports"
JOB = (
    *("./bootstrap", "pytest", "suites/failover", "--reports", REPORTS),
    *("--require", "forks,report", "-k", "a-LinkDown"),
)
TIMEOUT_S = 1200


@dataclass(frozen=True)
class Ran:
    """What was left of the job."""

    status: int
    said: str
    folder: Path

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.said.splitlines() if "warning" in line.lower()]

    @property
    def verdict(self) -> dict[str, Any]:
        """Of the one test. Raises AssertionError, with all that was said, if there is none."""
        return only_verdict(self.folder, f"the job ended with status {self.status}:\n{self.said}")


@pytest.fixture(scope="module")
def machine() -> Iterator[FreshMachine]:
    with fresh_machine() as made:
        yield made


@pytest.fixture(scope="module")
def job(machine: FreshMachine) -> Ran:
    done = machine.run(JOB, TIMEOUT_S)
    return Ran(done.status, done.said, machine.file(REPORTS))


@pytest.fixture
def ran(job: Ran) -> Ran:
    """With every test that fails, what was said is shown."""
    sys.stdout.write(job.said)
    return job


def test_the_main_job_passes(ran: Ran) -> None:
    """With a page that people can read. A host too busy for a verdict lacks no package."""
    verdict = ran.verdict
    checks = [check for judged in verdict["judgements"] for check in judged["checks"]]
    assert checks
    assert [check for check in checks if not accepted(check)] == []
    assert ran.status == (0 if verdict["verdict"] == "pass" else 1)
    assert list(ran.folder.glob("20*/report.html"))


def test_its_testbed_was_forked(ran: Ran) -> None:
    assert ran.verdict["environment"].get("Testbeds", "booted").startswith("forked from ")


def test_nothing_was_missing_but_kvm(ran: Ran) -> None:
    """Whatever a run had to do without, it warns of."""
    assert ran.verdict
    others = [line for line in ran.warnings if not line.startswith("warning: KVM")]
    assert not others, "\n".join(others)
    assert "going on without" not in ran.said


def test_the_doctor_finds_nothing_to_install(machine: FreshMachine, ran: Ran) -> None:
    """Once the job has made what is made by the first run."""
    done = machine.run(("./bootstrap", "pathproof", "doctor"), TIMEOUT_S)
    sys.stdout.write(done.said)
    assert done.status == 0
    assert "is not installed" not in done.said


def test_an_ordinary_user_can_work_there_too(machine: FreshMachine, ran: Ran) -> None:
    """With an environment of the user's own: a machine is forked, and a report is made."""
    doctor = ("./bootstrap", "pathproof", "doctor", "--require", "forks,report")
    done = machine.run_as_user(doctor, TIMEOUT_S)
    sys.stdout.write(done.said)
    assert done.status == 0
    assert "without root, in a user namespace" in done.said
    assert "is not installed" not in done.said
