"""The part of verdict.json about what the run had to do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from harness.lacking import Lacking, LackingName
from harness.reporting.verdict_part import Part


class WithoutPart(Part):
    """One thing that the run had to do without, and that the user did not switch off."""

    name: LackingName
    """`forks`: machines were booted; `kvm`: they were emulated; `report`: there is no HTML report;
    `capability`, `fault`: tests were skipped; `handler`: a map names a SCSI device handler that the
    kernel has not attached to its paths; `results`: the run ended before all tests had one."""
    reason: str
    cure: str
    """What to do about it."""


def without_parts(without: Sequence[Lacking]) -> tuple[WithoutPart, ...]:
    """One for each thing, in their order."""
    return tuple(WithoutPart(**asdict(one)) for one in without)
