"""Healing whatever a run before may have left."""

from __future__ import annotations

from harness.concurrency import side_by_side
from harness.faults.base import Lab
from harness.faults.callout import Callout, heal_callouts
from harness.faults.catalogue import CATALOGUE
from harness.faults.kind import Possible
from harness.faults.undoing import UndoneByShell, undo_all


def heal_everything(lab: Lab, possible: Possible) -> None:
    """Heal every kind of fault that is possible, everywhere, be it there or not.

    But of callouts only what was noted, as what a command of the user's own does is not known.
    """
    parts = dict.fromkeys(
        part
        for kind in CATALOGUE
        for fault in kind.everywhere(lab.topology, possible)
        for part in fault.parts
        if possible(part)
    )
    by_shell = [part for part in parts if isinstance(part, UndoneByShell)]
    others = [part for part in parts if not isinstance(part, UndoneByShell | Callout)]
    side_by_side(
        lambda: undo_all(lab, by_shell),
        lambda: heal_callouts(lab.topology),
        *((lambda one=part: one.heal(lab)) for part in others),
    )
