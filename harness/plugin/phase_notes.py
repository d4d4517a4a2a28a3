"""What a test says for the end of the run: it travels with the report of the phase that said it.

Reports are made in the process that runs the test and read in the one that shows them, which
with `pytest -n` is another: what was read is safe, whatever becomes of the worker.
"""

from __future__ import annotations

from typing import TypedDict

import pytest

from harness.lacking import Lacking
from harness.reporting.degraded import Degraded
from harness.reporting.run_result import JudgedPart, RunResult
from harness.steps import Bill, Spent

_KEY = "pathproof"


class PhaseNotes(TypedDict):
    """Plain data, as execnet takes nothing else."""

    remarks: list[str]
    stalls: list[str]  # the lines of the terminal
    judged: list[JudgedPart]
    spent: dict[str, float]  # seconds by `Spent`
    lacking: list[dict[str, str]]  # the fields of `Lacking`, and `test`
    result: str  # uuid of the Allure result of the test that runs, if one is written
    unknown: list[str]  # what its checks could not tell, if it is to be measured again


class RunNotes:
    """What the tests of a run said, added up."""

    def __init__(self) -> None:
        self.remarks: list[str] = []
        self.stalls: list[str] = []
        self.result = RunResult()
        self.bill = Bill()
        self.degraded = Degraded()
        self.tests_s = 0.0

    def add(self, notes: PhaseNotes, *, worker: str = "") -> None:
        self.remarks += notes["remarks"]
        self.stalls += notes["stalls"]
        self.result.note(notes["judged"])
        for fields in notes["lacking"]:
            lacking = Lacking(**{key: fields[key] for key in ("name", "reason", "cure")})  # type: ignore[arg-type]  # a known name
            self.degraded.note(lacking, test=fields["test"], worker=worker)
        for kind, seconds in notes["spent"].items():
            self.bill.seconds[Spent(kind)] += seconds


def leave_notes(report: pytest.TestReport, notes: PhaseNotes) -> None:
    """Let it travel with the report: as an attribute, where neither JUnit nor Allure looks."""
    vars(report)[_KEY] = notes


def notes_of(report: pytest.TestReport) -> PhaseNotes | None:
    """What travelled with the report; None if it was made here, for a test that says nothing."""
    notes: PhaseNotes | None = getattr(report, _KEY, None)
    return notes
