"""NICs that lose their carrier: cables pulled at the hypervisor, NICs that are switched off."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from harness.budget import Effect
from harness.deadline import Deadline
from harness.errors import FaultError
from harness.faults.addresses import configuring, wait_for_addresses
from harness.faults.base import CONFIRM_TIMEOUT_S, SAMPLE_TIMEOUT_S, Lab, Means
from harness.faults.kind import Family, Kind, Possible
from harness.faults.one_end import AtOneEnd
from harness.faults.together import Together
from harness.faults.undoing import UndoneByShell
from harness.measurements import MeansSample
from harness.topology import Role, Topology, called

_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class _NoCarrier(AtOneEnd):
    """The NIC of one machine at its end of a link has no carrier."""

    link: str

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each NIC of that role."""
        if cls.role is Role.TARGET:
            return tuple(cls(nic.links[0]) for nic in topology.nics(Role.TARGET))
        return tuple(cls(link.name) for link in topology.links)

    def machine(self, topology: Topology) -> str:  # there is one target
        if self.role is Role.TARGET:
            return Role.TARGET.value
        return topology.link(self.link).machine

    @property
    def where(self) -> str:
        return self.link

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return tuple(p for link in self.disturbs(topology) for p in topology.over_link(link))

    def disturbs(self, topology: Topology) -> tuple[str, ...]:
        return topology.nic_at(self.machine(topology), self.link).links

    def confirm(self, lab: Lab) -> None:
        self._wait_for_carrier(lab, up=False)

    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        machine = self.machine(lab.topology)
        nic = lab.nic(machine, self.link)
        up = lab.observer(machine).latest(SAMPLE_TIMEOUT_S).carriers.get(nic)
        if up is None:
            raise FaultError(f"{self.name}: the samples of {called(machine)} do not have NIC {nic}")
        missing = f"NIC {nic} of {called(machine)} has a carrier" if up else ""
        return [MeansSample(self.name, missing=missing)]

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
class _PulledCable(_NoCarrier):
    def inject(self, lab: Lab) -> None:
        lab.set_link(self.machine(lab.topology), self.link, up=False)

    def heal(self, lab: Lab) -> None:
        lab.set_link(self.machine(lab.topology), self.link, up=True)


@dataclass(frozen=True)
class LinkDown(_PulledCable):
    """The NIC at the initiator's end of one link loses its carrier."""

    role: ClassVar[Role] = Role.INITIATOR
    means: ClassVar[Means] = Means.INITIATOR_CABLE

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

    @property
    def description(self) -> str:
        return f"the target's NIC of link {self.link} has no carrier (at the hypervisor)"


@dataclass(frozen=True)
class BothEndsDown(Together):
    """The NICs at both ends of one link lose their carrier, as when a switch dies.

    On a network that others use the target has one NIC; then it is all links there.
    """

    link: str = ""

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each NIC of the target."""
        return tuple(
            cls((*map(LinkDown, nic.links), PeerLinkDown(nic.links[0])), nic.links[0])
            for nic in topology.nics(Role.TARGET)
        )

    @property
    def where(self) -> str:
        return self.link

    @property
    def name(self) -> str:
        return f"BothEndsDown({self.link})"


@dataclass(frozen=True)
class LinkFlaps(LinkDown):
    """The NIC at the initiator's end of one link loses its carrier again and again.

    It has none for the first `down_s` of every `period_s`.
    """

    period_s: float = 6.0
    down_s: float = 3.0

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.INTERRUPTED})

    @property
    def lasts_s(self) -> float:
        """Two rounds, but for the last second: so that it ends while the carrier is there."""
        return 2 * self.period_s - 1

    def go_on(self, lab: Lab, over: threading.Event) -> None:
        while not over.wait(self.down_s):
            super().heal(lab)
            if over.wait(self.period_s - self.down_s):
                return
            self.inject(lab)

    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        """The kernel counts how often a carrier has come or gone."""
        machine = self.machine(lab.topology)
        sample = lab.observer(machine).latest(SAMPLE_TIMEOUT_S)
        counts = sample.nics.get(lab.nic(machine, self.link))
        count = counts.carrier_changes if counts else None
        return [MeansSample(self.name, count=count, grows=True)]

    @property
    def description(self) -> str:
        return (
            f"the NIC at the initiator's end of link {self.link} has no carrier for "
            f"{self.down_s:g} of every {self.period_s:g} s (at the hypervisor)"
        )


@dataclass(frozen=True)
class _SwitchedOff(_NoCarrier, UndoneByShell):
    """A NIC that is switched off inside the machine, which then has no route there either.

    The kernel keeps its IPv4 addresses and drops those of IPv6, and all of its routes
    (fib_netdev_event() in net/ipv4/fib_frontend.c, addrconf_ifdown() in net/ipv6/addrconf.c). TCP
    keeps a connection that it has no route for.
    """

    def inject(self, lab: Lab) -> None:
        machine = self.machine(lab.topology)
        argv = ["ip", "link", "set", lab.nic(machine, self.link), "down"]
        lab.machine(machine).run(argv, timeout_s=_TIMEOUT_S)

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        return configuring(lab.topology, self.machine(lab.topology))

    def confirm_healed(self, lab: Lab) -> None:
        super().confirm_healed(lab)
        nic = lab.topology.nic_at(self.machine(lab.topology), self.link)
        wait_for_addresses(lab, self.machine(lab.topology), nic, nic.addresses)


@dataclass(frozen=True)
class NicDown(_SwitchedOff):
    """The initiator's NIC of one link is switched off inside of it."""

    role: ClassVar[Role] = Role.INITIATOR
    means: ClassVar[Means] = Means.INITIATOR_NIC

    @property
    def description(self) -> str:
        return f"the initiator's NIC of link {self.link} is switched off (`ip link set … down`)"


@dataclass(frozen=True)
class PeerNicDown(_SwitchedOff):
    """The target's NIC at one link is switched off inside of it."""

    role: ClassVar[Role] = Role.TARGET
    means: ClassVar[Means] = Means.TARGET_GUEST

    @property
    def description(self) -> str:
        return f"the target's NIC of link {self.link} is switched off (`ip link set … down`)"


LINK_KINDS = (
    Kind(
        LinkDown,
        "link",
        Family.LINK,
        "the initiator's NIC of one link has no carrier",
        "its own NIC reports the loss at once; no packet comes, TCP keeps the connection",
        LinkDown.everywhere,
        usual=True,
    ),
    Kind(
        PeerLinkDown,
        "link",
        Family.LINK,
        "the target's NIC of one link has no carrier",
        "its own carrier stays up; nothing answers any more",
        PeerLinkDown.everywhere,
        usual=True,
    ),
    Kind(
        BothEndsDown,
        "link",
        Family.LINK,
        "both NICs of one link have no carrier, as when a switch dies",
        "as after `LinkDown`",
        BothEndsDown.everywhere,
    ),
    Kind(
        NicDown,
        "link",
        Family.LINK,
        "the initiator's NIC of one link is switched off inside of it (`ip link set … down`)",
        "it has no route to the portal; TCP keeps the connection, a new one fails at once",
        NicDown.everywhere,
    ),
    Kind(
        PeerNicDown,
        "link",
        Family.LINK,
        "the target's NIC of one link is switched off inside of it",
        "its own carrier stays up; nothing answers any more",
        PeerNicDown.everywhere,
    ),
    Kind(
        LinkFlaps,
        "link",
        Family.LINK,
        "the initiator's NIC of one link has no carrier for 3 of every 6 s",
        "the link comes and goes; what was sent meanwhile is sent again",
        LinkFlaps.everywhere,
    ),
)
