"""What is done to an initiator again and again, and should not be felt: restarts, rescans."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.budget import Effect
from harness.errors import FaultError
from harness.faults.base import Lab, Means
from harness.faults.kind import Family, Kind
from harness.faults.on_initiator import COUNTS, OfDaemon, OfInitiator
from harness.measurements import MeansSample
from harness.topology import called
from harness.transport import Daemon

_EVERY_S = 2.0


@dataclass(frozen=True)
class _Repeated(OfInitiator):
    """It is done when the fault is injected, and then some seconds after each time, until it heals.

    Only what has succeeded counts.
    """

    how: ClassVar[str]

    @abstractmethod
    def once(self, lab: Lab) -> str:
        """Shell that does it, and fails if it was not done."""

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.UNNOTICED})

    @property
    def lasts_s(self) -> float:
        """Several times."""
        return 4 * _EVERY_S

    def inject(self, lab: Lab) -> None:
        self.run(lab, f"{self.once(lab)}\nmkdir -p {COUNTS}\necho >>{self.file}")

    def go_on(self, lab: Lab, over: threading.Event) -> None:
        while not over.wait(_EVERY_S):
            self.inject(lab)

    def confirm(self, lab: Lab) -> None:
        if not self._counted(lab):
            raise FaultError(f"{self.name} was not done")

    def sampling(self, lab: Lab) -> str:
        return f"if [ -e {self.file} ]; then wc -l <{self.file}; else echo 0; fi"

    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        return [MeansSample(self.name, count=int(told), grows=True)]

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        return {self.initiator: f"rm -f {self.file}"}

    def confirm_healed(self, lab: Lab) -> None:
        if self._counted(lab):
            raise FaultError(f"{self.name} is not healed: {self.file} is still there")

    @property
    def description(self) -> str:
        return f"every few seconds {self.how}, on {called(self.initiator)}"

    @property
    def file(self) -> str:
        """The file on the initiator that has a line for each time."""
        return f"{COUNTS}/{type(self).__name__}"

    def _counted(self, lab: Lab) -> int:
        return int(self.run(lab, self.sampling(lab)).stdout)


@dataclass(frozen=True)
class _OfPathDaemon(OfDaemon, _Repeated):
    """It is done to the daemon that keeps maps, which has to run when it heals."""

    daemon: ClassVar[Daemon] = Daemon.PATHS

    @property
    def file(self) -> str:
        return f"{self.counts}{type(self).__name__}"

    def confirm_healed(self, lab: Lab) -> None:
        OfDaemon.confirm_healed(self, lab)
        _Repeated.confirm_healed(self, lab)


@dataclass(frozen=True)
class PathDaemonRestarted(_OfPathDaemon):
    """The daemon that keeps maps is stopped and started again: each time it is another process."""

    how: ClassVar[str] = "the path daemon is restarted"

    def once(self, lab: Lab) -> str:
        return self.shell(lab).restart(self.daemon)


@dataclass(frozen=True)
class PathDaemonReconfigured(_OfPathDaemon):
    """The daemon that keeps maps reads its configuration anew, and looks at all of them."""

    how: ClassVar[str] = "the path daemon reads its configuration anew"

    def once(self, lab: Lab) -> str:
        return self.shell(lab).reconfigure()


@dataclass(frozen=True)
class Rescan(_Repeated):
    """LUNs are looked for in each session with the testbed's targets, and those known anew."""

    means: ClassVar[Means] = Means.INITIATOR_GUEST
    how: ClassVar[str] = "each session is scanned for LUNs"

    def once(self, lab: Lab) -> str:
        return self.shell(lab).rescan()


REPEATED_KINDS = (
    Kind(
        PathDaemonRestarted,
        "initiator",
        Family.INITIATOR,
        "the path daemon of one initiator is restarted every few seconds",
        "nothing, as long as a path is left",
        PathDaemonRestarted.everywhere,
    ),
    Kind(
        PathDaemonReconfigured,
        "initiator",
        Family.INITIATOR,
        "the path daemon of one initiator reads its configuration anew every few seconds",
        "nothing",
        PathDaemonReconfigured.everywhere,
    ),
    Kind(
        Rescan,
        "initiator",
        Family.INITIATOR,
        "each session of one initiator is scanned for LUNs every few seconds",
        "nothing: what is found is there already",
        Rescan.everywhere,
    ),
)
