"""What a check says: pass, fail or unknown, in one sentence, with the figures behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What a check says."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Outcome:
    """What the function of a check returns: a finding, but for the name of the check.

    The fields are those of `Finding`. `same_again`: it is unknown for a reason that measuring again
    does not change, such as a setting.
    """

    verdict: Verdict
    message: str
    figures: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    span_ns: tuple[int, int] | None = None
    same_again: bool = False


def passed(
    message: str,
    figures: Mapping[str, str] | None = None,
    numbers: Mapping[str, float] | None = None,
) -> Outcome:
    """The measurements prove that all is as demanded."""
    return Outcome(Verdict.PASS, message, figures or {}, numbers or {})


def failed(
    message: str,
    figures: Mapping[str, str] | None = None,
    numbers: Mapping[str, float] | None = None,
    span_ns: tuple[int, int] | None = None,
) -> Outcome:
    """The measurements prove that something is not as demanded."""
    return Outcome(Verdict.FAIL, message, figures or {}, numbers or {}, span_ns)


def unknown(
    message: str,
    figures: Mapping[str, str] | None = None,
    numbers: Mapping[str, float] | None = None,
    *,
    same_again: bool = False,
) -> Outcome:
    """The measurements prove neither; the message says why."""
    given = (figures or {}, numbers or {})
    return Outcome(Verdict.UNKNOWN, message, *given, same_again=same_again)


def first_bad(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The first failure; if there is none, the first that is unknown; None if all passed."""
    bad = [one for one in outcomes if one.verdict is not Verdict.PASS]
    return min(bad, key=lambda one: one.verdict is Verdict.UNKNOWN, default=None)


def first_bad_or_all(outcomes: Sequence[Outcome]) -> Outcome:
    """The first bad one; if all passed, one that passes with the messages and figures of all."""
    return first_bad(outcomes) or passed(
        "; ".join(one.message for one in outcomes),
        {key: value for one in outcomes for key, value in one.figures.items()},
        {key: value for one in outcomes for key, value in one.numbers.items()},
    )
