"""What a test says for the end of the run: it travels with the report of the phase that said it.

Reports are made in the process that runs the test and read in the one that shows them, which
with `pytest -n` is another: what was read is safe, whatever becomes of the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar

import pytest

from harness.lacking import Lacking
from harness.reporting.degraded import Degraded
from harness.reporting.run_result import JudgedPart, RunResult
from harness.steps import Bill, Spent

Note = TypeVar("Note", str, JudgedPart)

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


@dataclass
class _Said:
    """What one attempt at a test said that is told only if the attempt counts."""

    remarks: list[str] = field(default_factory=list)
    stalls: list[str] = field(default_factory=list)
    judged: list[JudgedPart] = field(default_factory=list)


class RunNotes:
    """What the tests of a run said, added up; of a test that was measured again, the last attempt.

    An attempt whose verdict was unknown counts until the outcome of the next one is known: the run
    may be interrupted before that.
    """

    def __init__(self) -> None:
        self._said: dict[str, list[_Said]] = {}  # the attempts at each test; "" is no test
        self.bill = Bill()
        self.degraded = Degraded()
        self.tests_s = 0.0

    @property
    def remarks(self) -> list[str]:
        """Those for the end of the run."""
        return self._all(lambda one: one.remarks)

    @property
    def stalls(self) -> list[str]:
        """The lines of the terminal."""
        return self._all(lambda one: one.stalls)

    @property
    def result(self) -> RunResult:
        """What the tests judged."""
        return RunResult(self._all(lambda one: one.judged))

    def _all(self, kind: Callable[[_Said], list[Note]]) -> list[Note]:
        return [note for test in self._said.values() for one in test for note in kind(one)]

    def forget_earlier(self, test: str) -> None:
        """The outcome of an attempt is known: those before it do not count."""
        if test in self._said:
            del self._said[test][:-1]

    def end_attempt(self, test: str) -> None:
        """What `test` says from now on is of another attempt."""
        self.forget_earlier(test)
        self._said.setdefault(test, []).append(_Said())

    def forget(self, test: str) -> None:
        """Nothing that `test` said counts."""
        self._said.pop(test, None)

    def add(self, notes: PhaseNotes, *, test: str = "", worker: str = "") -> None:
        """Take in what was said in a phase of `test`, or outside of all tests."""
        said = self._said.setdefault(test, [_Said()])[-1]
        said.remarks += notes["remarks"]
        said.stalls += notes["stalls"]
        said.judged += notes["judged"]
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
