"""Attempts at a test: whether another follows, and which of them counts."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from harness.checks import Finding, Judgement, Verdict
from harness.plugin.attempts import Attempts
from harness.plugin.phase_notes import PhaseNotes, RunNotes, leave_notes
from harness.plugin.run import Run
from harness.reporting.blame import Blame
from harness.reporting.measured_again import measured_again
from harness.reporting.outcomes import RERUN, Outcomes
from harness.reporting.run_result import judged_parts
from harness.reporting.verdict_document import Judged, verdict_document
from suites.selftest.unit.synthetic_failover import failover, nothing_measured

BUSY = "latency recovered: unknown: the host was too busy to compare"


def unknown(*, crash: str = "", same_again: bool = False, measured: bool = True) -> Judged:
    finding = Finding(
        "latency recovered", Verdict.UNKNOWN, "too busy", crash=crash, same_again=same_again
    )
    return Judged(failover() if measured else nothing_measured(), Judgement((finding,)))


@pytest.mark.parametrize(
    ("blamed", "judged", "again"),
    [
        (Blame.UNKNOWN, [unknown()], True),
        (Blame.LAB, [unknown()], False),
        (Blame.UNKNOWN, [], False),
        (Blame.UNKNOWN, [unknown(crash="Traceback")], False),
        (Blame.UNKNOWN, [unknown(crash="Traceback", measured=False)], True),
        (Blame.UNKNOWN, [unknown(), unknown(same_again=True)], False),
    ],
    ids=["unknown", "of the lab", "nothing judged", "crashed", "no I/O", "by a setting"],
)
def test_what_another_attempt_may_tell(blamed: Blame, judged: list[Judged], again: bool) -> None:
    """Checks that crash since no I/O got under way say that the host was slow.

    What is unknown because of a setting would be unknown again.
    """
    attempts = Attempts(1)
    attempts.note(blamed, judged)
    assert bool(attempts.unknown) is again
    attempts.begin_next()
    attempts.note(blamed, judged)
    assert attempts.unknown == ()


def report(when: str = "call", outcome: str = "passed") -> pytest.TestReport:
    made = pytest.TestReport(
        nodeid="test_io", location=("", None, ""), keywords={}, outcome="passed",
        longrepr=None, when=when, start=1.0, stop=2.0,  # type: ignore[arg-type]  # a known phase
    )  # fmt: skip
    made.outcome = outcome  # type: ignore[assignment]  # a fourth, where pytest has three
    return made


def heard(outcomes: Outcomes, *, again: bool, unknown: Sequence[str] = ()) -> None:
    """The reports of an attempt; of one that does not count there may be no end."""
    for when in ("setup", "call", "teardown"):
        if again and when == "call":
            outcomes.note(report(when, RERUN), result="a", unknown=unknown)
        else:
            outcomes.note(report(when), result="a" if again else "b")


def test_earlier_attempts_are_known_with_the_test() -> None:
    """Their order is that in which they were made."""
    outcomes = Outcomes()
    heard(outcomes, again=True, unknown=[BUSY, "too few reads"])
    heard(outcomes, again=False)
    (outcome,) = outcomes.all()
    (earlier,) = outcome.earlier
    assert (earlier.result, outcome.result) == ("a", "b")
    assert (earlier.verdict, earlier.message) == ("unknown", f"{BUSY}\ntoo few reads")
    line = f"  test_io: {BUSY}; too few reads; then passed"
    assert measured_again([outcome]) == ["measured again: 1 test, which was unknown at first", line]


@pytest.mark.parametrize("began", [True, False], ids=["in the next attempt", "before it began"])
def test_a_run_may_end_between_two_attempts(began: bool) -> None:
    """Then the last that ended is the outcome; while the run goes on there is none."""
    outcomes = Outcomes()
    heard(outcomes, again=True, unknown=["too few reads"])
    heard(outcomes, again=True, unknown=[BUSY])
    if began:
        outcomes.note(report("setup"), result="b")
    assert outcomes.of("test_io") is None
    (outcome,) = outcomes.all()
    assert (outcome.result, outcome.verdict, outcome.message) == ("a", "unknown", BUSY)
    assert [one.message for one in outcome.earlier] == ["too few reads"]


def test_a_test_whose_worker_died_begins_anew() -> None:
    """Another worker counts its attempts from 1."""
    outcomes = Outcomes()
    heard(outcomes, again=True, unknown=[BUSY])
    heard(outcomes, again=True)
    assert outcomes.all() == []
    heard(outcomes, again=False)
    assert [outcome.earlier for outcome in outcomes.all()] == [()]


def notes(name: str, unknown: Sequence[str]) -> PhaseNotes:
    """What an attempt says of itself by its name, and a check that was unknown."""
    judged = [Judged(failover(), Judgement((Finding(name, Verdict.UNKNOWN, "busy"),)))]
    document = verdict_document("x.py::test_io", judged, environment={}, wall_ahead_ns=0)
    return PhaseNotes(
        remarks=[f"{name}: 9 MiB/s"], stalls=[f"{name}: 3 s"], judged=judged_parts(document),
        spent={}, lacking=[], result="", unknown=list(unknown),
    )  # fmt: skip


AGAIN = report(outcome=RERUN), ("busy",)
DIED = report("???", RERUN), None
BROKE = report("setup", "failed"), None
PASSED = report(), ()


@pytest.mark.parametrize(
    ("reports", "counts"),
    [
        ([AGAIN], ["attempt 1"]),
        ([AGAIN, AGAIN], ["attempt 2"]),
        ([AGAIN, PASSED], ["attempt 2"]),
        ([AGAIN, BROKE], []),
        ([AGAIN, DIED], []),
        ([AGAIN, DIED, PASSED], ["attempt 3"]),
        ([PASSED, (report("teardown", "failed"), None)], ["attempt 1"]),
    ],
    ids=["cut off", "cut off later", "passed", "broke", "died", "died and passed", "clean-up"],
)
def test_what_an_attempt_said_counts_only_with_it(
    reports: Sequence[tuple[pytest.TestReport, Sequence[str] | None]], counts: list[str]
) -> None:
    """Findings, stalls and remarks; one that ended in another way has said none."""
    run: Any = SimpleNamespace(_notes=RunNotes(), outcomes=Outcomes())
    for number, (made, unknown) in enumerate(reports, 1):
        said = report(str(made.when), made.outcome)
        said.longrepr = "broken" if said.failed else None
        if unknown is not None:
            leave_notes(said, notes(f"attempt {number}", unknown))
        Run.hear(run, said)
    found: RunNotes = run._notes
    assert found.remarks == [f"{name}: 9 MiB/s" for name in counts]
    assert found.stalls == [f"{name}: 3 s" for name in counts]
    assert found.result.findings() == [f"test_io: {name}: unknown: busy" for name in counts]
