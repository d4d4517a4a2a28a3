"""A portal that falls silent: one end drops its packets, both carriers stay up.

Nothing answers, not even with a reset; a firewall gone wrong or a dead switch port behind a
live one looks like this, and it is the hard case for every timeout. Source: nft(8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

from harness.deadline import Deadline, poll
from harness.errors import FaultError
from harness.faults.base import CONFIRM_TIMEOUT_S, LOOK_TIMEOUT_S, Lab, Means, Seen
from harness.faults.kind import Family, Kind, Possible
from harness.faults.silent_loss import LostAtOneEnd
from harness.machine import Machine
from harness.topology import Portal, Role, Topology, called

_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class _Drop(LostAtOneEnd):
    portal: str

    @property
    def where(self) -> str:
        return self.portal

    @property
    def table(self) -> str:
        """The nftables table that holds this fault's rules and nothing else."""
        return f"pathproof_drop_{self.portal.replace('-', '_')}"

    def inject(self, lab: Lab) -> None:
        rules = render_rules(self.table, lab.topology.portal(self.portal).portal, self.role)
        self._at(lab).run(["nft", "--file", "-"], stdin=rules.encode(), timeout_s=_TIMEOUT_S)

    def confirm(self, lab: Lab) -> None:
        """The rules are there and have dropped packets: the initiator keeps trying."""
        poll(
            lambda: self._dropped(lab) > 0,
            what=f"a packet dropped by {self.name}",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
            every_s=0.3,
        )

    def look(self, lab: Lab) -> Mapping[str, Seen]:
        script = f"nft list table inet {self.table} 2>/dev/null || nft list tables"
        told = self._at(lab).sh(script, timeout_s=LOOK_TIMEOUT_S).stdout
        if self.table not in told.split():
            where = called(self.machine(lab.topology))
            return {self.name: Seen(f"nftables table {self.table} of {where} is gone")}
        return {self.name: Seen(count=parse_dropped(told) if "packets" in told else None)}

    def heal(self, lab: Lab) -> None:
        # "destroy" would be idempotent by itself, but needs nftables 1.0.7.
        table = self.table
        self._at(lab).sh(
            f"nft list table inet {table} >/dev/null 2>&1 || exit 0; nft delete table inet {table}",
            timeout_s=_TIMEOUT_S,
        )

    def confirm_healed(self, lab: Lab) -> None:
        tables = self._at(lab).run(["nft", "list", "tables"], timeout_s=_TIMEOUT_S).stdout
        if self.table in tables.split():
            raise FaultError(f"{self.name} is not healed: table {self.table} is still there")

    def _dropped(self, lab: Lab) -> int:
        listing = self._at(lab).run(
            ["nft", "list", "table", "inet", self.table], timeout_s=_TIMEOUT_S, check=False
        )
        return parse_dropped(listing.stdout)

    def _at(self, lab: Lab) -> Machine:
        return lab.machine(self.machine(lab.topology))


@dataclass(frozen=True)
class SilentDrop(_Drop):
    """The target's guest drops both directions of one portal."""

    role: ClassVar[Role] = Role.TARGET
    means: ClassVar[Means] = Means.TARGET_GUEST

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each portal."""
        return tuple(cls(portal.name) for portal in topology.portals)

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_portal(self.portal)

    def machine(self, topology: Topology) -> str:  # there is one target
        return Role.TARGET.value

    @property
    def description(self) -> str:
        return f"the target drops every packet of its portal {self.portal} (in its guest)"


@dataclass(frozen=True)
class InitiatorDrop(_Drop):
    """An initiator drops both directions of one portal: for external targets."""

    initiator: str = Role.INITIATOR.value

    role: ClassVar[Role] = Role.INITIATOR
    means: ClassVar[Means] = Means.INITIATOR_GUEST

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each portal, on each initiator."""
        return tuple(
            cls(portal.name, initiator)
            for initiator in topology.initiators
            for portal in topology.portals
        )

    @property
    def where(self) -> str:
        first = self.initiator == Role.INITIATOR
        return self.portal if first else f"{self.initiator}-{self.portal}"

    def hits(self, topology: Topology) -> tuple[str, ...]:
        over = topology.over_portal(self.portal)
        return tuple(name for name in over if topology.path(name).machine == self.initiator)

    def machine(self, topology: Topology) -> str:  # its name says it
        return self.initiator

    @property
    def description(self) -> str:
        return (
            f"{called(self.initiator)} drops every packet of portal {self.portal} (in its own "
            "packet filter)"
        )


def render_rules(table: str, portal: Portal, role: Role) -> str:
    """nft commands by which `role` drops both directions of a portal, before all other rules."""
    family = "ip6" if portal.address.version == 6 else "ip"
    to_portal, from_portal = (
        f"{family} {way}addr {portal.address} tcp {way}port {portal.port}" for way in ("d", "s")
    )
    inbound, outbound = (
        (to_portal, from_portal) if role is Role.TARGET else (from_portal, to_portal)
    )
    return (
        f"add table inet {table}\n"
        f"add chain inet {table} inbound {{ type filter hook input priority -300; }}\n"
        f"add chain inet {table} outbound {{ type filter hook output priority -300; }}\n"
        f"add rule inet {table} inbound {inbound} counter drop\n"
        f"add rule inet {table} outbound {outbound} counter drop\n"
    )


def parse_dropped(listing: str) -> int:
    """Packets counted by all rules of a listing.

    Real line: `ip daddr 172.16.0.1 tcp dport 3260 counter packets 3 bytes 156 drop`
    """
    words = listing.split()
    return sum(int(n) for word, n in pairwise(words) if word == "packets")


DROP_KINDS = (
    Kind(
        "SilentDrop",
        "portal",
        Family.WIRE,
        "the target's nftables drops both directions of one portal, without a reset",
        "both carriers stay up, ping still works; the portal does not answer",
        SilentDrop.everywhere,
    ),
    Kind(
        "InitiatorDrop",
        "portal",
        Family.WIRE,
        "the same on one initiator; for targets that nothing runs on",
        "as after `SilentDrop`",
        InitiatorDrop.everywhere,
    ),
)
