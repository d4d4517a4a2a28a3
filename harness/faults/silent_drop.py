"""A portal that falls silent: one end drops its packets, both carriers stay up.

Nothing answers, not even with a reset; a firewall gone wrong or a dead switch port behind a
live one looks like this, and it is the hard case for every timeout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from harness.faults.base import Means
from harness.faults.kind import Family, Kind, Possible
from harness.faults.portal_filter import PortalFilter, TargetFilter
from harness.faults.silent_loss import SilentLoss
from harness.topology import Role, Topology, called


@dataclass(frozen=True)
class SilentDrop(TargetFilter, SilentLoss):
    """The target's guest drops both directions of one portal."""

    @property
    def description(self) -> str:
        return f"the target drops every packet of its portal {self.portal} (in its guest)"


@dataclass(frozen=True)
class InitiatorDrop(PortalFilter, SilentLoss):
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


DROP_KINDS = (
    Kind(
        SilentDrop,
        "portal",
        Family.PACKET,
        "the target's nftables drops both directions of one portal, without a reset",
        "both carriers stay up, ping still works; the portal does not answer",
        SilentDrop.everywhere,
        usual=True,
    ),
    Kind(
        InitiatorDrop,
        "portal",
        Family.PACKET,
        "one initiator's nftables drops both directions of one portal, without a reset; for "
        "targets that nothing runs on",
        "as after `SilentDrop`",
        InitiatorDrop.everywhere,
        usual=True,
    ),
)
