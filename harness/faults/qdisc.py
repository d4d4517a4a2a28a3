"""Queueing disciplines of faults: what becomes of the frames that a NIC sends. Source: tc(8)."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.deadline import Deadline, poll
from harness.errors import CommandFailed, FaultError, LabCannot
from harness.faults.base import CONFIRM_TIMEOUT_S, SAMPLE_TIMEOUT_S, Lab, Means
from harness.faults.sampling import SampledByShell
from harness.faults.undoing import UndoneByShell
from harness.machine import Machine
from harness.topology import Role, Topology, called

# By its handle a queueing discipline is known to be of a fault.
HANDLE = "a5a5:"
_TIMEOUT_S = 30.0
_UNKNOWN_KIND = "Specified qdisc kind is unknown"


@dataclass(frozen=True)
class Qdisc:
    """The queueing discipline of a fault on a NIC: its kind, and what it has counted so far."""

    kind: str
    packets: int
    waiting: int


@dataclass(frozen=True)
class Queued(UndoneByShell, SampledByShell):
    """The frames that one machine sends at its end of a link go through a queue of the fault's own.

    `at` says which end: what the initiator sends there, or what the target does. On a network that
    others use the target has one NIC, so that it is all links there. `queue` is how tc(8) is told;
    `queue_at_target` is that of the target, if it has another one.
    """

    link: str
    at: Role = Role.INITIATOR

    queue: ClassVar[str]
    queue_at_target: ClassVar[str] = ""

    @property
    def own_queue(self) -> str:
        """The queue at this end, as tc(8) is told of it."""
        return (self.at is Role.TARGET and self.queue_at_target) or self.queue

    @property
    def where(self) -> str:
        return self.link if self.at is Role.INITIATOR else f"{self.link}-{self.at}"

    @property
    def needs(self) -> frozenset[Means]:
        at_target = self.at is Role.TARGET
        return frozenset({Means.TARGET_GUEST if at_target else Means.INITIATOR_NIC})

    def machine(self, topology: Topology) -> str:  # that at its end
        at_target = self.at is Role.TARGET
        return Role.TARGET.value if at_target else topology.link(self.link).machine

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return tuple(p for link in self.disturbs(topology) for p in topology.over_link(link))

    def disturbs(self, topology: Topology) -> tuple[str, ...]:
        return topology.nic_at(self.machine(topology), self.link).links

    def inject(self, lab: Lab) -> None:
        """Raises LabCannot if the machine's kernel has no such queue."""
        argv = ["tc", "qdisc", "replace", "dev", self._nic(lab), "root", "handle", HANDLE]
        try:
            self._at(lab).run([*argv, *self.own_queue.split()], timeout_s=_TIMEOUT_S)
        except CommandFailed as error:
            if _UNKNOWN_KIND not in error.stderr:
                raise
            kind, where = self.own_queue.split()[0], called(self.machine(lab.topology))
            raise LabCannot(
                f"{self.name} is not possible here: the kernel of {where} has no sch_{kind}"
            ) from None

    def confirm(self, lab: Lab) -> None:
        """The queue is there, and has done something."""
        poll(
            lambda: (queue := self._qdisc(lab)) and self.acted(queue),
            what=f"a frame that {self.name} acts on",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
            every_s=0.3,
        )

    @abstractmethod
    def acted(self, queue: Qdisc) -> bool:
        """Whether the queue has done anything by then."""

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        return {self.machine(lab.topology): removing(self._nic(lab))}

    def confirm_healed(self, lab: Lab) -> None:
        if self._qdisc(lab) is not None:
            raise FaultError(f"{self.name} is not healed: its queue is still there")

    @classmethod
    def at_both_ends(cls, topology: Topology) -> list[tuple[str, Role]]:
        """The link and the role of each NIC: those of the initiators, then those of the target."""
        return [
            *((link.name, Role.INITIATOR) for link in topology.links),
            *((nic.links[0], Role.TARGET) for nic in topology.nics(Role.TARGET)),
        ]

    def _qdisc(self, lab: Lab) -> Qdisc | None:
        told = self._at(lab).run(self._listing(lab), timeout_s=SAMPLE_TIMEOUT_S)
        return parse_qdisc(told.stdout)

    def _listing(self, lab: Lab) -> list[str]:
        return ["tc", "-s", "qdisc", "show", "dev", self._nic(lab)]

    def _nic(self, lab: Lab) -> str:
        return lab.nic(self.machine(lab.topology), self.link)

    def _at(self, lab: Lab) -> Machine:
        return lab.machine(self.machine(lab.topology))


def removing(nic: str) -> str:
    """Shell that removes the queue of a fault from a NIC, if it is there.

    One that holds frames lets them go first: those that wait in a queue that is removed are lost.
    """
    change = f"tc qdisc change dev {nic} root handle {HANDLE} plug release_indefinite"
    waiting = f"tc -s qdisc show dev {nic} | grep -q 'backlog [^ ]* [1-9]'"
    return (
        f'case "$(tc qdisc show dev {nic} 2>/dev/null)" in\n'
        f'*" plug {HANDLE} root "*)\n'
        f"  {change}\n"
        f"  for n in $(seq 50); do {waiting} || break; sleep 0.1; done;;\n"
        f'*" {HANDLE} root "*) ;;\n'
        f"*) exit 0;;\n"
        f"esac\n"
        f"tc qdisc delete dev {nic} root"
    )


_QDISC = re.compile(
    rf"^qdisc (?P<kind>\w+) {HANDLE} root .*\n"
    r" *Sent \d+ bytes (?P<packets>\d+) pkt "
    r"\(dropped \d+, overlimits \d+ requeues \d+\) *\n"
    r" *backlog \S+ (?P<waiting>\d+)p ",
    re.MULTILINE,
)


def parse_qdisc(told: str) -> Qdisc | None:
    """The fault's queue in what `tc -s qdisc show` prints; None if there is none.

    Real output (iproute2 6.1):
    `qdisc tbf a5a5: root refcnt 3 rate 2Mbit burst 16Kb lat 300ms`
    ` Sent 0 bytes 0 pkt (dropped 0, overlimits 0 requeues 0)`
    ` backlog 0b 0p requeues 0`
    """
    found = _QDISC.search(told)
    if found is None:
        return None
    names = ("packets", "waiting")
    return Qdisc(found["kind"], *(int(found[name]) for name in names))
