"""What a fault is: what it hits, and how it is injected, seen in force and healed."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from math import inf
from typing import Protocol

from harness.budget import BudgetTerm, Effect
from harness.machine import Machine
from harness.measurements import MeansSample, SessionSettings
from harness.observe import Observer
from harness.topology import Topology
from harness.transport import Allowances, Initiator, SeenState

CONFIRM_TIMEOUT_S = 20.0
SAMPLE_TIMEOUT_S = 5.0


class Means(StrEnum):
    """What a fault acts with. A lab has it or not."""

    INITIATOR_CABLE = "the hypervisor's end of the initiator's cables"
    INITIATOR_GUEST = "commands on the initiator"
    INITIATOR_NIC = "exclusive use of the initiator's NICs"
    INITIATOR_DAEMONS = "exclusive use of the initiator's daemons"
    TARGET_CABLE = "the hypervisor's end of the target's cables"
    TARGET_GUEST = "commands on the target"
    TARGET_VM = "the hypervisor's end of the target's VM"
    LIO = "LIO as the target"
    OWN_COMMANDS = "commands of the user's own"


class TargetVm(Protocol):
    """The hypervisor's end of the target's VM."""

    @property
    def is_running(self) -> bool:
        """Whether the hypervisor lets its processors run."""

    def set_running(self, *, running: bool) -> None:
        """Stop its processors, or let them run. Nothing happens if that is so already."""

    def limits(self) -> Mapping[str, tuple[int, int]]:
        """Bytes and I/Os a second that pass at most to and from each disk that LUNs are on.

        By the names that the target has for these disks; 0 is no limit.
        """

    def limit_disks(self, *, bytes_per_s: int, ios_per_s: int) -> None:
        """Set these limits."""


class Lab(Protocol):
    """What faults need of a testbed."""

    @property
    def topology(self) -> Topology: ...

    @property
    def initiators(self) -> Mapping[str, Initiator]:
        """Each initiator's way to the LUNs, by its name."""

    def machine(self, name: str) -> Machine: ...

    def observer(self, machine: str) -> Observer: ...

    def nic(self, machine: str, link: str) -> str:
        """The name of a machine's NIC at its end of a link, inside the machine."""

    def set_link(self, machine: str, link: str, *, up: bool) -> None:
        """Plug or pull a NIC's cable at the hypervisor."""

    def wait_until_lost(self, paths: Sequence[str]) -> None:
        """Wait until no map of any LUN has these paths active. Raises CutShort."""

    @property
    def target_vm(self) -> TargetVm: ...

    def access_states(self, paths: Collection[str]) -> Sequence[tuple[str, SeenState]]:
        """What the initiators' kernels know of ALUA: of each disk of these paths, with its path."""


class Fault(ABC):
    """A frozen description of what is broken, and how to break and mend it."""

    @abstractmethod
    def hits(self, topology: Topology) -> tuple[str, ...]:
        """The names of the paths that are broken while this fault lasts."""

    def limps(self, topology: Topology) -> tuple[str, ...]:
        """Those of them that may carry I/O all the same; all others carry nothing."""
        return self.hits(topology) if self.goes_on else ()

    def loses(self, topology: Topology) -> tuple[str, ...]:
        """Those of them that are given up, and stay so for as long as it lasts."""
        limping = set(self.limps(topology))
        return tuple(path for path in self.hits(topology) if path not in limping)

    def disturbs(self, topology: Topology) -> tuple[str, ...]:  # most kinds: none
        """The names of the links whose cables do not carry all that is sent while it lasts."""
        return ()

    def stops(self, topology: Topology) -> tuple[str, ...]:  # most kinds: none
        """The names of the machines that do not run while it lasts."""
        return ()

    @property
    def holds_disks(self) -> bool:
        """Whether it holds up the disks that the lab lends to the target."""
        return False

    @property
    def goes_on(self) -> bool:
        """Whether every path that it hits may carry I/O all the same."""
        return all(one.goes_on for one in self.effects)

    @property
    def is_felt_at_healing(self) -> bool:
        """Whether every path that it hits is as it was until it is healed."""
        return all(one.is_felt_at_healing for one in self.effects)

    @property
    @abstractmethod
    def where(self) -> str:
        """The name of what is broken: a link, a portal, an initiator or several of them."""

    @property
    def parts(self) -> Sequence[Fault]:
        """The faults that it consists of: itself alone, or several."""
        return (self,)

    @property
    def needs(self) -> frozenset[Means]:
        """What it acts with."""
        return frozenset()

    @property
    def means_hidden(self) -> bool:
        """Whether nothing but the paths can show that it lasts: its means cannot be sampled."""
        return False

    @property
    def name(self) -> str:
        """The name of the fault in the report, such as "LinkDown(a)"."""
        return f"{type(self).__name__}({self.where})"

    @property
    def lasts_s(self) -> float:
        """How long it has to last at least, for all of it to be felt."""
        return 0.0

    def at_most_s(self, bears_s: float) -> float:  # most kinds: as long as may be
        """How long it may last if it is to do what it says; a session bears so long a silence."""
        return inf

    @property
    @abstractmethod
    def description(self) -> str:
        """One sentence for the report: what is broken, and where."""

    @abstractmethod
    def inject(self, lab: Lab) -> None:
        """Break it; returns when the order was given."""

    @abstractmethod
    def confirm(self, lab: Lab) -> None:
        """Prove that it is broken. Raises FaultError or TimedOut."""

    def go_on(self, lab: Lab, over: threading.Event) -> None:  # noqa: B027  # most kinds: nothing
        """What it goes on doing once it is confirmed, if anything; returns when `over` is set."""

    @abstractmethod
    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        """What its means show while it lasts; most kinds have one sample, of their own name.

        It takes no longer than some seconds. Raises HarnessError if nothing can be seen.
        """

    @abstractmethod
    def heal(self, lab: Lab) -> None:
        """Undo what `inject` did, and only that. Idempotent."""

    @abstractmethod
    def confirm_healed(self, lab: Lab) -> None:
        """Prove that the fault no longer acts. Raises FaultError or TimedOut."""

    @property
    @abstractmethod
    def effects(self) -> frozenset[Effect]:
        """What the initiator notices of it: one effect, or those of its parts.

        `UNNOTICED` if it hits no path.
        """

    def detection_terms(
        self, session: SessionSettings, allowances: Allowances
    ) -> tuple[BudgetTerm, ...]:
        """How long the initiator may take to give a path up, term by term."""
        return longest(allowances.detection_terms(session, one) for one in sorted(self.effects))

    def recovery_terms(self, allowances: Allowances) -> tuple[BudgetTerm, ...]:
        """How long I/O may wait after healing where no path was left, term by term."""
        return longest(map(allowances.recovery_terms, sorted(self.effects)))


def longest(each: Iterable[tuple[BudgetTerm, ...]]) -> tuple[BudgetTerm, ...]:
    return max(each, key=lambda terms: sum(term.seconds for term in terms), default=())
