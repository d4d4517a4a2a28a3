"""Cables pulled at the hypervisor: one end loses its carrier, nothing is sent to either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from harness.budget import Effect
from harness.deadline import Deadline
from harness.faults.base import CONFIRM_TIMEOUT_S, LOOK_TIMEOUT_S, Lab, Means, Seen
from harness.faults.kind import Family, Kind, Possible
from harness.faults.silent_loss import LostAtOneEnd
from harness.topology import Role, Topology, called


@dataclass(frozen=True)
class _PulledCable(LostAtOneEnd):
    link: str

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each link."""
        return tuple(cls(link.name) for link in topology.links)

    @property
    def where(self) -> str:
        return self.link

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return tuple(p for link in self.unplugs(topology) for p in topology.over_link(link))

    def unplugs(self, topology: Topology) -> tuple[str, ...]:
        return topology.nic_at(self.machine(topology), self.link).links

    def inject(self, lab: Lab) -> None:
        lab.set_link(self.machine(lab.topology), self.link, up=False)

    def confirm(self, lab: Lab) -> None:
        self._wait_for_carrier(lab, up=False)

    def look(self, lab: Lab) -> Mapping[str, Seen]:
        machine = self.machine(lab.topology)
        nic = lab.nic(machine, self.link)
        up = lab.observer(machine).latest(LOOK_TIMEOUT_S).carriers.get(nic)
        return {self.name: Seen(f"NIC {nic} of {called(machine)} has a carrier" if up else "")}

    def heal(self, lab: Lab) -> None:
        lab.set_link(self.machine(lab.topology), self.link, up=True)

    def confirm_healed(self, lab: Lab) -> None:
        self._wait_for_carrier(lab, up=True)

    @property
    def effects(self) -> frozenset[Effect]:
        """Without a carrier ARP gets no answer either."""
        return frozenset({Effect.UNREACHABLE})

    def _wait_for_carrier(self, lab: Lab, *, up: bool) -> None:
        machine = self.machine(lab.topology)
        nic = lab.nic(machine, self.link)
        lab.observer(machine).wait_for(
            lambda sample: sample.carriers.get(nic) is up,
            what=f"carrier {'up' if up else 'down'} on {machine} {nic} (link {self.link})",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
        )


@dataclass(frozen=True)
class LinkDown(_PulledCable):
    """The NIC at the initiator's end of one link loses its carrier."""

    role: ClassVar[Role] = Role.INITIATOR
    means: ClassVar[Means] = Means.INITIATOR_CABLE

    def machine(self, topology: Topology) -> str:
        return topology.link(self.link).machine

    @property
    def description(self) -> str:
        return (
            f"the NIC at the initiator's end of link {self.link} has no carrier (at the hypervisor)"
        )


@dataclass(frozen=True)
class PeerLinkDown(_PulledCable):
    """The target's NIC at one link loses its carrier; the initiator sees a healthy link.

    On a network that others use the target has one NIC, and loses all links there.
    """

    role: ClassVar[Role] = Role.TARGET
    means: ClassVar[Means] = Means.TARGET_CABLE

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each NIC of the target."""
        return tuple(cls(nic.links[0]) for nic in topology.nics(Role.TARGET))

    def machine(self, topology: Topology) -> str:  # there is one target
        return Role.TARGET.value

    @property
    def description(self) -> str:
        return f"the target's NIC of link {self.link} has no carrier (at the hypervisor)"


LINK_KINDS = (
    Kind(
        "LinkDown",
        "link",
        Family.LINK,
        "the initiator's NIC of one link has no carrier",
        "its own NIC reports the loss at once; no packet comes, TCP keeps the connection",
        LinkDown.everywhere,
    ),
    Kind(
        "PeerLinkDown",
        "link",
        Family.LINK,
        "the target's NIC of one link has no carrier",
        "its own carrier stays up; nothing answers any more",
        PeerLinkDown.everywhere,
    ),
)
