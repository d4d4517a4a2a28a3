"""Packets of a portal that are lost one way, or answered with a refusal.

Sources: nft(8), "reject statement"; tcp_reset() and tcp_v4_err() in the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.budget import Effect
from harness.faults.kind import Family, Kind
from harness.faults.portal_filter import TargetFilter
from harness.faults.silent_loss import SilentLoss


@dataclass(frozen=True)
class RequestsDropped(TargetFilter, SilentLoss):
    """What an initiator sends does not arrive; what the target sends does."""

    answers: ClassVar[str] = ""

    @property
    def description(self) -> str:
        return f"the target drops every packet that arrives at its portal {self.portal}"


@dataclass(frozen=True)
class AnswersDropped(TargetFilter, SilentLoss):
    """What the target sends does not arrive. It does what it is told, and nobody learns of it."""

    requests: ClassVar[str] = ""

    @property
    def description(self) -> str:
        return f"the target drops every packet that it sends from its portal {self.portal}"


@dataclass(frozen=True)
class Reset(TargetFilter):
    """Each packet that arrives at a portal is answered with a reset, as where nothing listens."""

    requests: ClassVar[str] = "counter reject with tcp reset"
    answers: ClassVar[str] = ""

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.REFUSED})

    @property
    def description(self) -> str:
        return f"the target answers every packet to its portal {self.portal} with a reset"


@dataclass(frozen=True)
class Rejected(TargetFilter):
    """Each packet that arrives at a portal is answered by ICMP: "port unreachable".

    That ends an attempt to connect at once. For a connection that is there it is a soft error,
    which TCP passes over: so that is lost in silence (RFC 5927 section 4.2).
    """

    requests: ClassVar[str] = "counter reject with icmpx type port-unreachable"
    answers: ClassVar[str] = ""

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.UNREACHABLE})

    @property
    def description(self) -> str:
        return (
            f"the target answers every packet to its portal {self.portal} with ICMP port "
            "unreachable"
        )


REFUSAL_KINDS = (
    Kind(
        RequestsDropped,
        "portal",
        Family.PACKET,
        "the target drops what arrives at one portal, and sends on",
        "both carriers stay up; nothing is acknowledged",
        RequestsDropped.everywhere,
    ),
    Kind(
        AnswersDropped,
        "portal",
        Family.PACKET,
        "the target drops what it sends from one portal, and does what it is told",
        "both carriers stay up; nothing is answered, and what was written is written",
        AnswersDropped.everywhere,
    ),
    Kind(
        Reset,
        "portal",
        Family.PACKET,
        "the target answers what arrives at one portal with a TCP reset",
        "the connection ends with its next packet, and each new one is refused",
        Reset.everywhere,
    ),
    Kind(
        Rejected,
        "portal",
        Family.PACKET,
        "the target answers what arrives at one portal with ICMP port unreachable",
        "TCP keeps a connection that is there; each new one is refused",
        Rejected.everywhere,
    ),
)
