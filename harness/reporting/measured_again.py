"""Which tests were measured again, since a check of an earlier attempt could not tell."""

from __future__ import annotations

from collections.abc import Sequence

from harness.reporting.blame import Blame
from harness.reporting.outcomes import Outcome

_THEN = {
    Blame.STORAGE: "failed",
    Blame.LAB: "the lab broke",
    Blame.DEFECT: "a program is wrong",
    Blame.UNKNOWN: "unknown again",
}


def measured_again(outcomes: Sequence[Outcome]) -> list[str]:
    """For the end of a run: how many tests, and of each why, and what came of it."""
    again = [outcome for outcome in outcomes if outcome.earlier]
    if not again:
        return []
    return [f"measured again: {_counted(len(again))}", *map(_line, again)]


def front_page(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """For the front page of the report; empty if no test was measured again."""
    number = sum(bool(outcome.earlier) for outcome in outcomes)
    return {"Measured again": _counted(number)} if number else {}


def _counted(tests: int) -> str:
    if tests == 1:
        return "1 test, which was unknown at first"
    return f"{tests} tests, which were unknown at first"


def _line(outcome: Outcome) -> str:
    why = "; ".join(one.message.replace("\n", "; ") for one in outcome.earlier)
    then = _THEN[Blame(outcome.verdict)] if outcome.verdict else outcome.status
    return f"  {outcome.node_id}: {why}; then {then}"
