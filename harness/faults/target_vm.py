"""The target's VM as a whole: it stands still, or its disks do. By means of the hypervisor.

Every path waits, and none is given up as long as that is over in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from harness.budget import Effect
from harness.errors import FaultError
from harness.faults.base import SAMPLE_TIMEOUT_S, Fault, Lab, Means
from harness.faults.kind import Family, Kind, Possible
from harness.measurements import MeansSample
from harness.observe import Sample
from harness.topology import Role, Topology

_TARGET = Role.TARGET.value
# Of the shortest time that a session bears: the orders to the hypervisor take time, too.
_SHARE = 0.7
_LONGEST_PAUSE_S = 5.0
# A command may take 30 s (/sys/block/sdX/device/timeout).
_LONGEST_HANG_S = 15.0


@dataclass(frozen=True)
class _OfTheTarget(Fault):
    """What becomes of every path, at the hypervisor's end of the target's VM."""

    @classmethod
    def everywhere(cls, _: Topology, __: Possible) -> tuple[Self, ...]:
        """One: there is one target."""
        return (cls(),)

    @property
    def where(self) -> str:
        return _TARGET

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({Means.TARGET_VM})

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return tuple(path.name for path in topology.paths)

    def loses(self, topology: Topology) -> tuple[str, ...]:
        """None: it is over before anything gives a path up."""
        return ()


@dataclass(frozen=True)
class TargetPaused(_OfTheTarget):
    """The target's processors stop for less time than anything that waits for it bears.

    Nothing is answered meanwhile, and all of it afterwards. The clock of the machine stands still,
    too, and it takes no samples.
    """

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.HELD})

    def disturbs(self, topology: Topology) -> tuple[str, ...]:
        return tuple(link.name for link in topology.links)

    def stops(self, topology: Topology) -> tuple[str, ...]:
        return (_TARGET,)

    def at_most_s(self, bears_s: float) -> float:
        return min(_SHARE * bears_s, _LONGEST_PAUSE_S)

    @property
    def description(self) -> str:
        return "the target's VM is paused (at the hypervisor)"

    def inject(self, lab: Lab) -> None:
        lab.target_vm.set_running(running=False)

    def confirm(self, lab: Lab) -> None:
        if lab.target_vm.is_running:
            raise FaultError(f"{self.name}: the hypervisor says that the target runs")

    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        missing = "the target's VM runs" if lab.target_vm.is_running else ""
        return [MeansSample(self.name, missing=missing)]

    def heal(self, lab: Lab) -> None:
        lab.target_vm.set_running(running=True)

    def confirm_healed(self, lab: Lab) -> None:
        if not lab.target_vm.is_running:
            raise FaultError(f"{self.name} is not healed: the target's VM does not run")


@dataclass(frozen=True)
class _DisksLimited(_OfTheTarget):
    """No more than a limit passes to and from each disk of the target's VM that LUNs are on."""

    bytes_per_s: ClassVar[int] = 0
    ios_per_s: ClassVar[int] = 0

    def limps(self, topology: Topology) -> tuple[str, ...]:
        """What the target has in memory it answers all the same."""
        return self.hits(topology)

    @property
    def holds_disks(self) -> bool:
        return True

    def inject(self, lab: Lab) -> None:
        lab.target_vm.limit_disks(bytes_per_s=self.bytes_per_s, ios_per_s=self.ios_per_s)

    def confirm(self, lab: Lab) -> None:
        """The hypervisor has the limit. Whether anything waits for it samples tell."""
        if wrong := self._without_limit(lab):
            raise FaultError(f"{self.name}: {wrong}")

    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        if wrong := self._without_limit(lab):
            return [MeansSample(self.name, missing=wrong)]
        sample = lab.observer(_TARGET).latest(SAMPLE_TIMEOUT_S)
        waits = any(_waits(sample, disk) for disk in lab.target_vm.limits())
        return [MeansSample(self.name, proves=waits)]

    def heal(self, lab: Lab) -> None:
        lab.target_vm.limit_disks(bytes_per_s=0, ios_per_s=0)

    def confirm_healed(self, lab: Lab) -> None:
        if left := [disk for disk, has in lab.target_vm.limits().items() if has != (0, 0)]:
            raise FaultError(f"{self.name} is not healed: {', '.join(left)} still has a limit")

    def _without_limit(self, lab: Lab) -> str:
        """What lacks the limit, as half a sentence; empty if nothing does."""
        wanted = (self.bytes_per_s, self.ios_per_s)
        lacking = [disk for disk, has in lab.target_vm.limits().items() if has != wanted]
        return f"{', '.join(lacking)} of the target has no such limit" if lacking else ""


@dataclass(frozen=True)
class StorageHangs(_DisksLimited):
    """The target's disks do nothing more, for less time than a command may take.

    A target that waits for its disk may not even answer a ping: LIO's thread of a connection writes
    to a file by itself. So a session may be lost.
    """

    bytes_per_s: ClassVar[int] = 1

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.HELD, Effect.SILENT})

    def at_most_s(self, bears_s: float) -> float:
        return _LONGEST_HANG_S

    @property
    def description(self) -> str:
        return "the disks that the target's LUNs are on hang (at the hypervisor)"


@dataclass(frozen=True)
class StorageSlow(_DisksLimited):
    """The target's disks do a few dozen I/Os a second: less than the load writes.

    Not so few that the sweep could not look at each block often enough.
    """

    ios_per_s: ClassVar[int] = 64

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.HELD})

    @property
    def lasts_s(self) -> float:
        """So long that the load is behind its pace."""
        return 6.0

    @property
    def description(self) -> str:
        return (
            f"the disks that the target's LUNs are on do {self.ios_per_s} I/Os a second at most "
            "(at the hypervisor)"
        )


def _waits(sample: Sample, disk: str) -> bool:
    return disk in sample.disks and sample.disks[disk].in_flight > 0


TARGET_VM_KINDS = (
    Kind(
        TargetPaused,
        "target",
        Family.STORAGE,
        f"the target's VM is paused, for {_SHARE:.0%} of the time that the answer to a NOP may "
        f"take ({_LONGEST_PAUSE_S:g} s at most)",
        "nothing is answered; then all is, and no path is given up",
        TargetPaused.everywhere,
        passing=True,
    ),
    Kind(
        StorageSlow,
        "target",
        Family.STORAGE,
        f"the disks that the LUNs are on do {StorageSlow.ios_per_s} I/Os a second at most",
        "what needs a disk is answered late",
        StorageSlow.everywhere,
        passing=True,
    ),
    Kind(
        StorageHangs,
        "target",
        Family.STORAGE,
        f"the disks that the LUNs are on do nothing more, for {_LONGEST_HANG_S:g} s at most",
        "what needs a disk is answered only afterwards; a target whose threads wait for the disk "
        "does not answer NOPs either, and loses its sessions",
        StorageHangs.everywhere,
        passing=True,
    ),
)
