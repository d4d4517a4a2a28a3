"""Frames that are held back, and let go when the fault is healed. Source: net/sched/sch_plug.c."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from harness.budget import Effect
from harness.faults.base import Lab
from harness.faults.kind import Family, Kind, Possible
from harness.faults.qdisc import Qdisc, Queued, parse_qdisc
from harness.measurements import MeansSample
from harness.topology import Role, Topology, called


@dataclass(frozen=True)
class _Held(Queued):
    """Nothing that one end of a link sends leaves its NIC, not even what asks for an address.

    So its paths are lost. What was held arrives when it is healed, in order, and long after the
    connections that it belongs to were given up.
    """

    queue: ClassVar[str] = "plug limit 100000000"

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.UNREACHABLE})

    def acted(self, queue: Qdisc) -> bool:
        return queue.waiting > 0

    def sampling(self, lab: Lab) -> str:
        return shlex.join(self._listing(lab))

    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        if (queue := parse_qdisc(told)) and queue.waiting:
            return [MeansSample(self.name, count=queue.waiting)]
        where = called(self.machine(lab.topology))
        return [MeansSample(self.name, missing=f"NIC {self._nic(lab)} of {where} holds no frames")]


@dataclass(frozen=True)
class RequestsHeld(_Held):
    """What an initiator sends is held: a write may land after it was sent again elsewhere.

    Nothing keeps a target from carrying out what arrives late on a connection that the initiator
    alone has given up. So sound storage may end with stale data.
    """

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each link."""
        return tuple(cls(link.name) for link in topology.links)

    @property
    def description(self) -> str:
        return (
            f"the initiator's NIC of link {self.link} holds what it sends, and lets it go when "
            "healed"
        )


@dataclass(frozen=True)
class AnswersHeld(_Held):
    """What the target sends is held: answers arrive on connections that are closed by then."""

    at: Role = Role.TARGET

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each NIC of the target."""
        return tuple(cls(nic.links[0]) for nic in topology.nics(Role.TARGET))

    @property
    def where(self) -> str:
        return self.link

    @property
    def description(self) -> str:
        return (
            f"the target's NIC of link {self.link} holds what it sends, and lets it go when healed"
        )


HELD_KINDS = (
    Kind(
        RequestsHeld,
        "link",
        Family.PACKET,
        "what the initiator sends on one link is held, and let go when the fault is healed",
        "nothing is acknowledged; old writes may land after newer ones, also on sound storage",
        RequestsHeld.everywhere,
        damaging=True,
    ),
    Kind(
        AnswersHeld,
        "link",
        Family.PACKET,
        "what the target sends on one link is held, and let go when the fault is healed",
        "nothing is answered; the answers come when nobody waits for them",
        AnswersHeld.everywhere,
    ),
)
