"""Disks of one path that the initiator's own kernel no longer uses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from harness.budget import BudgetTerm, Effect, Layer
from harness.deadline import Deadline, poll
from harness.errors import FaultError
from harness.faults.base import CONFIRM_TIMEOUT_S, Lab, Means
from harness.faults.kind import Family, Kind, Possible
from harness.faults.on_initiator import OnInitiator
from harness.measurements import MeansSample
from harness.topology import Topology
from harness.transport import Allowances

_RUNS = "running"
# No setting limits it.
_FOUND_ANEW = BudgetTerm(
    "new disk",
    5,
    "udev's rules",
    "udev looks at a disk that appears before the path daemon is told of it",
    (Layer.REINSTATEMENT,),
)


@dataclass(frozen=True)
class _Detached(OnInitiator):
    """The disk of each LUN on one path is out of use. The session goes on."""

    path: str

    means: ClassVar[Means] = Means.INITIATOR_GUEST

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each path."""
        return tuple(cls(path.name) for path in topology.paths)

    @property
    def where(self) -> str:
        return self.path

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return (topology.path(self.path).name,)

    def machine(self, topology: Topology) -> str:
        return topology.path(self.path).machine

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.DETACHED})

    @abstractmethod
    def detach(self, lab: Lab, disks: Iterable[str]) -> str:
        """Shell that takes these disks out of use."""

    @abstractmethod
    def wrong(self, disks: Mapping[str, str]) -> str:
        """What of the path's disks, with their states, is not as it should be; empty if all is."""

    def inject(self, lab: Lab) -> None:
        if not (disks := self._disks(lab)):
            raise FaultError(f"{self.name}: path {self.path} has no disk")
        self.run(lab, self.detach(lab, disks))

    def confirm(self, lab: Lab) -> None:
        self._wait_until(lab, lambda disks: not self.wrong(disks), "out of use")

    def sampling(self, lab: Lab) -> str:
        return self.shell(lab).show_disks()

    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        return [MeansSample(self.name, missing=self.wrong(self.shell(lab).disks(told)[self.path]))]

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        return {self.machine(lab.topology): self.shell(lab).bring_disks_back()}

    def confirm_healed(self, lab: Lab) -> None:
        wanted = len(lab.initiators[self.machine(lab.topology)].wwids)
        self._wait_until(
            lab,
            lambda disks: len(disks) == wanted and set(disks.values()) == {_RUNS},
            "in use again",
        )

    def _wait_until(self, lab: Lab, met: Callable[[Mapping[str, str]], bool], what: str) -> None:
        seen: Mapping[str, str] = {}

        def is_met() -> bool:
            nonlocal seen
            seen = self._disks(lab)
            return met(seen)

        poll(
            is_met,
            what=f"the disks of path {self.path} {what}",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
            every_s=0.3,
            last_seen=lambda: str(dict(seen)),
        )

    def _disks(self, lab: Lab) -> Mapping[str, str]:
        """The state of each of its disks, by the disk's name."""
        shell = self.shell(lab)
        return shell.disks(self.run(lab, shell.show_disks()).stdout)[self.path]


@dataclass(frozen=True)
class DiskOffline(_Detached):
    """Disks that the kernel has set offline: it refuses what is sent there."""

    def detach(self, lab: Lab, disks: Iterable[str]) -> str:
        return self.shell(lab).take_offline(disks)

    def wrong(self, disks: Mapping[str, str]) -> str:
        if not disks:
            return f"path {self.path} has no disk"
        others = (
            f"{disk} of path {self.path} is {s}" for disk, s in disks.items() if s != "offline"
        )
        return next(others, "")

    @property
    def description(self) -> str:
        return f"the disk of path {self.path} is offline by its initiator's own order"


@dataclass(frozen=True)
class DiskDeleted(_Detached):
    """Disks that the kernel has forgotten. A scan of the session finds them again."""

    def detach(self, lab: Lab, disks: Iterable[str]) -> str:
        return self.shell(lab).delete(disks)

    def wrong(self, disks: Mapping[str, str]) -> str:
        return f"path {self.path} has disk {', '.join(disks)}" if disks else ""

    def recovery_terms(self, allowances: Allowances) -> tuple[BudgetTerm, ...]:
        return (_FOUND_ANEW, *super().recovery_terms(allowances))

    @property
    def description(self) -> str:
        return f"the initiator's kernel has deleted the disk of path {self.path}"


DISK_KINDS = (
    Kind(
        DiskOffline,
        "path",
        Family.INITIATOR,
        "the disk of one path is set offline on the initiator",
        "its own kernel refuses what is sent there; the session goes on",
        DiskOffline.everywhere,
    ),
    Kind(
        DiskDeleted,
        "path",
        Family.INITIATOR,
        "the disk of one path is deleted on the initiator",
        "the path leaves the map; the session goes on, and a scan finds the disk again",
        DiskDeleted.everywhere,
    ),
)
