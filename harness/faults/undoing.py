"""Faults that are undone by shell on machines, one by one or all at once."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Iterable, Mapping

from harness.concurrency import side_by_side
from harness.faults.base import Fault, Lab

_TIMEOUT_S = 30.0


class UndoneByShell(Fault):
    """What shell undoes that may be run again, whether the fault is there or not."""

    @abstractmethod
    def undoing(self, lab: Lab) -> Mapping[str, str]:
        """That shell, by machine. Faults that are undone by the same have the same text."""

    def heal(self, lab: Lab) -> None:
        undo_all(lab, [self])


def undo_all(lab: Lab, faults: Iterable[UndoneByShell]) -> None:
    """Undo these faults with one command on each machine, which runs each text once.

    What fails keeps nothing else from being run, and is raised in the end.
    """
    scripts: dict[str, dict[str, None]] = {}
    for fault in faults:
        for machine, script in fault.undoing(lab).items():
            scripts.setdefault(machine, {})[script] = None
    side_by_side(
        *(
            lambda m=machine, s=own: lab.machine(m).sh(joined(s), timeout_s=_TIMEOUT_S)
            for machine, own in scripts.items()
        )
    )


def joined(scripts: Iterable[str]) -> str:
    """One script that runs each of several, and fails if one of them did."""
    runs = "".join(f"sh -euc {shlex.quote(script)} || failed=1\n" for script in scripts)
    return f"failed=0\n{runs}exit $failed\n"
