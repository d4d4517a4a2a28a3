"""What came of each test, out of the reports that pytest makes of its phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from allure_commons.model2 import Status

from harness.reporting.blame import LABEL, Blame

RERUN = "rerun"  # a report's outcome: this attempt does not count, the test is run again


@dataclass(frozen=True)
class Outcome:
    """What pytest reported of a test's last attempt.

    `result` is the uuid of the Allure result that was to be written, `status` in Allure's words;
    times are seconds since the epoch. `final` once it is known whether the test passed; what is
    known then may still get worse. `earlier` has the attempts whose verdict was unknown, so that
    the test was measured again; their messages say what was.
    """

    node_id: str
    began_s: float
    ended_s: float
    result: str = ""
    status: str = Status.PASSED
    message: str = ""
    verdict: str = ""
    worker: str = ""
    final: bool = False
    earlier: tuple[Outcome, ...] = ()


class Outcomes:
    """The outcome of every test of a run."""

    def __init__(self) -> None:
        self._last: dict[str, Outcome] = {}
        self._earlier: dict[str, tuple[Outcome, ...]] = {}

    def note(
        self, report: pytest.TestReport, *, result: str = "", unknown: Sequence[str] = ()
    ) -> None:
        """Take in a phase of a test; its set-up begins a new attempt.

        `unknown` is why a test is run again whose worker did not die. One whose worker died begins
        anew, with its first attempt.
        """
        if report.outcome == RERUN:
            last = self._last.pop(report.nodeid, None)
            earlier = self._earlier.pop(report.nodeid, ())
            if unknown:
                attempt = Outcome(
                    report.nodeid,
                    last.began_s if last else report.start,
                    report.stop,
                    result=result,
                    status=Status.BROKEN,
                    message="\n".join(unknown),
                    verdict=Blame.UNKNOWN,
                    worker=worker_of(report),
                    final=True,
                )
                self._earlier[report.nodeid] = (*earlier, attempt)
            return
        last = self._last.get(report.nodeid)
        if last is None or report.when == "setup":
            last = Outcome(report.nodeid, report.start, report.stop)
        status, verdict = _status(report)
        if status != Status.PASSED:
            message = last.message or _message(report)
            last = replace(last, status=status, verdict=verdict, message=message)
        self._last[report.nodeid] = replace(
            last,
            ended_s=max(last.ended_s, report.stop),
            result=result or last.result,
            worker=worker_of(report) or last.worker,
            final=last.final or report.when == "call" or status != Status.PASSED,
        )

    def of(self, node_id: str) -> Outcome | None:
        """The outcome of one test; None while it is not final."""
        last = self._last.get(node_id)
        return self._whole(last) if last is not None and last.final else None

    def all(self) -> list[Outcome]:
        """Every final outcome, in the order in which the tests began.

        Of a test that was interrupted while it was measured again, the attempt before that.
        """
        final = [self._whole(outcome) for outcome in self._last.values() if outcome.final]
        known = {outcome.node_id for outcome in final}
        return final + [
            replace(last, earlier=tuple(before))
            for test, (*before, last) in self._earlier.items()
            if test not in known
        ]

    def _whole(self, outcome: Outcome) -> Outcome:
        return replace(outcome, earlier=self._earlier.get(outcome.node_id, ()))


def worker_of(report: pytest.TestReport) -> str:
    """The worker of pytest-xdist that ran the test; empty without workers."""
    node = getattr(report, "node", None)
    return str(node.gateway.id) if node is not None else ""


def _status(report: pytest.TestReport) -> tuple[str, str]:
    if report.failed:
        verdict = dict(report.user_properties).get(LABEL, Blame.LAB)
        status = Status.FAILED if verdict == Blame.STORAGE else Status.BROKEN
        return status, str(verdict)
    return (Status.SKIPPED if report.skipped else Status.PASSED), ""


def _message(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
        return report.longrepr[2]
    return str(report.longrepr)
