"""The part of verdict.json about the attempts at a test that do not count."""

from __future__ import annotations

from collections.abc import Sequence

from harness.checks import Verdict
from harness.reporting.verdict_part import Part


class EarlierPart(Part):
    """An attempt that does not count, since the test was measured again."""

    attempt: int
    """From 1."""
    verdict: Verdict
    """`unknown`: with any other verdict it would count."""
    reasons: tuple[str, ...]
    """What its checks could not tell."""


def earlier_parts(earlier: Sequence[Sequence[str]]) -> tuple[EarlierPart, ...]:
    """One for each attempt in their order; `earlier` has what was unknown in each."""
    return tuple(
        EarlierPart(attempt=number, verdict=Verdict.UNKNOWN, reasons=tuple(reasons))
        for number, reasons in enumerate(earlier, 1)
    )
