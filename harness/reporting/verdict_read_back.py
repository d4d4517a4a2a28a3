"""The part of verdict.json about the reading of everything at the end."""

from __future__ import annotations

from collections import Counter

from harness.measurements import ReadBack
from harness.reporting.verdict_part import Part


class ReadBackPart(Part):
    """How many blocks were acknowledged, and what reading them back over each way showed."""

    acknowledged: int
    checked: dict[str, int]
    """Blocks read, by place: `map` and the names of the paths."""
    away: dict[str, str]
    """Paths that could not be read, and why."""
    wrong: dict[str, int]
    """Wrong blocks by kind of damage."""
    again_after_s: float = 0
    """How long after that all was read once more; 0 if it was not."""


def read_back_part(back: ReadBack | None) -> ReadBackPart | None:
    """None if nothing was read back."""
    if back is None:
        return None
    return ReadBackPart(
        acknowledged=back.acknowledged,
        checked=dict(back.checked),
        away=dict(back.away),
        wrong=dict(Counter(str(finding.damage) for finding in back.findings)),
        again_after_s=back.again_after_s,
    )
