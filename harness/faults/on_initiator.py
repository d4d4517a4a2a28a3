"""Faults of an initiator itself: of its daemons, its sessions and its disks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from harness.deadline import Deadline, poll
from harness.faults.base import CONFIRM_TIMEOUT_S, Lab, Means
from harness.faults.kind import Possible
from harness.faults.one_end import AtOneEnd
from harness.faults.sampling import SampledByShell
from harness.faults.undoing import UndoneByShell
from harness.machine import Completed
from harness.topology import Role, Topology, called
from harness.transport import Daemon, FaultShell

# A service that stops has 10 s, and a busy machine takes its time to start one.
TIMEOUT_S = 60.0
# What is done several times has a file here, with a line for each time. It is gone with the fault.
COUNTS = "/run/pathproof/faults"


class OnInitiator(UndoneByShell, SampledByShell, AtOneEnd):
    """What is done on an initiator, by the shell that its transport has for that."""

    role: ClassVar[Role] = Role.INITIATOR

    def shell(self, lab: Lab) -> FaultShell:
        """The shell for the initiator."""
        return lab.initiators[self.machine(lab.topology)].for_faults

    def run(self, lab: Lab, script: str, *, check: bool = True) -> Completed:
        """Run shell on the initiator."""
        return lab.machine(self.machine(lab.topology)).sh(script, timeout_s=TIMEOUT_S, check=check)


@dataclass(frozen=True)
class OfInitiator(OnInitiator):
    """What is broken is something that an initiator has once, whatever its paths are."""

    initiator: str = Role.INITIATOR.value

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each initiator."""
        return tuple(map(cls, topology.initiators))

    @property
    def where(self) -> str:
        return self.initiator

    def machine(self, topology: Topology) -> str:  # its name says it
        return self.initiator

    def hits(self, topology: Topology) -> tuple[str, ...]:  # unless it ends sessions
        return ()


@dataclass(frozen=True)
class OfDaemon(OfInitiator):
    """What is broken is a daemon, which serves all that uses its machine."""

    daemon: ClassVar[Daemon]
    means: ClassVar[Means] = Means.INITIATOR_DAEMONS

    @property
    def counts(self) -> str:
        """How the files begin in which is counted what is done to the daemon."""
        return f"{COUNTS}/{self.daemon.name.lower()}-"

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        """The same for all that can be done to a daemon, so that it is run once."""
        return {self.initiator: f"{self.shell(lab).mend(self.daemon)}rm -f {self.counts}*"}

    def confirm_healed(self, lab: Lab) -> None:
        script = self.shell(lab).is_ready(self.daemon)
        poll(
            lambda: self.run(lab, script, check=False).status == 0,
            what=f"the {self.daemon} of {called(self.initiator)}",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
            every_s=0.3,
        )
