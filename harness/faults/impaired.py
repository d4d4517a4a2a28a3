"""Links whose frames are late, lost, doubled, damaged or few: paths go on, but worse.

Proven by what TCP says of the connections of these paths, at the end that sends: what the queue of
a NIC counts would be the same on another NIC. A frame is what TCP hands to the NIC: it may be of
several segments (TSO). Sources: tc-netem(8), tc-tbf(8); tcp_dsack_seen() and
tcp_check_sack_reordering() in the kernel's net/ipv4/tcp_input.c.
"""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from harness.budget import Effect
from harness.faults.base import Lab
from harness.faults.connections import ARGV, Connection, of_paths, parse_connections
from harness.faults.kind import Family, Kind, Possible
from harness.faults.qdisc import Qdisc, Queued, parse_qdisc
from harness.measurements import MeansSample
from harness.topology import Topology, called

# A path without a fault has less.
_LEAST_SHARE = 0.005
# Half of `Delay`, and far from the mean of `Jitter`: the kernel's round trip is a moving average.
_LATE_MS = 25


@dataclass(frozen=True)
class Impaired(Queued):
    """Frames that one end of a link sends are worse off than they should be."""

    how: ClassVar[str]
    least_share: ClassVar[float] = _LEAST_SHARE

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of what each NIC sends: the initiators', and the target's."""
        return tuple(cls(link, at) for link, at in cls.at_both_ends(topology))

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.DEGRADED})

    @property
    def lasts_s(self) -> float:
        """So long that chance hits something."""
        return 6.0

    @property
    def description(self) -> str:
        return f"of what the {self.at} sends on link {self.link}, {self.how} (tc: {self.own_queue})"

    def acted(self, queue: Qdisc) -> bool:
        """That frames come to it is enough: few of them are worse off on a path in reserve."""
        return queue.packets > 0

    def sampling(self, lab: Lab) -> str:
        return f"{shlex.join(self._listing(lab))}; echo; {shlex.join(ARGV)}"

    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        """The queue and what it has let through, and what TCP says of the paths."""
        topology = lab.topology
        queues, _, connections = told.partition("\n\n")
        queue = parse_qdisc(f"{queues}\n")
        if queue is None:
            where = called(self.machine(topology))
            missing = f"the queue of NIC {self._nic(lab)} of {where} is gone"
            return [MeansSample(self.name, missing=missing)]
        paths = [topology.path(name) for name in self.hits(topology)]
        own = of_paths(parse_connections(connections), paths, self.at)
        shown = MeansSample(
            f"{self.name} on its paths",
            count=self.counted(own) if own else None,
            grows=True,
            out_of=sum(one.sent for one in own),
            least_share=self.least_share,
            restarts=True,
        )
        return [MeansSample(self.name, count=queue.packets), shown]

    @abstractmethod
    def counted(self, connections: Sequence[Connection]) -> int:
        """What shows by then that the paths are worse.

        A share of the segments that were sent, unless `least_share` is zero.
        """


@dataclass(frozen=True)
class PacketLoss(Impaired):
    """Two of a hundred frames are lost."""

    queue: ClassVar[str] = "netem loss 2%"
    how: ClassVar[str] = "2 of 100 frames are lost"

    def counted(self, connections: Sequence[Connection]) -> int:
        return sum(one.lost for one in connections)


@dataclass(frozen=True)
class Corruption(Impaired):
    """Two of a hundred frames have one bit that is wrong: their checksums do not fit."""

    queue: ClassVar[str] = "netem corrupt 2%"
    how: ClassVar[str] = "2 of 100 frames have a wrong bit"

    def counted(self, connections: Sequence[Connection]) -> int:
        return sum(one.lost for one in connections)


@dataclass(frozen=True)
class Duplication(Impaired):
    """Five of a hundred frames arrive twice."""

    queue: ClassVar[str] = "netem duplicate 5%"
    how: ClassVar[str] = "5 of 100 frames are sent twice"

    def counted(self, connections: Sequence[Connection]) -> int:
        return sum(-one.lost for one in connections)


@dataclass(frozen=True)
class Reordering(Impaired):
    """A quarter of the frames overtakes the others, which are 10 ms late."""

    queue: ClassVar[str] = "netem delay 10ms reorder 25% 50%"
    how: ClassVar[str] = "a quarter of the frames overtakes others"

    def counted(self, connections: Sequence[Connection]) -> int:
        return sum(one.reordered for one in connections)


@dataclass(frozen=True)
class _Late(Impaired):
    """Frames are late: the bytes count that were acknowledged with such a round trip.

    A connection that carries nothing still has the round trip of before.
    """

    least_share: ClassVar[float] = 0.0

    def counted(self, connections: Sequence[Connection]) -> int:
        return sum(one.acknowledged for one in connections if one.round_trip_ms >= _LATE_MS)


@dataclass(frozen=True)
class Delay(_Late):
    """Each frame is 50 ms late."""

    queue: ClassVar[str] = "netem delay 50ms"
    how: ClassVar[str] = "each frame is 50 ms late"


@dataclass(frozen=True)
class Jitter(_Late):
    """Each frame is late, each by another time, and some overtake others."""

    queue: ClassVar[str] = "netem delay 40ms 30ms"
    how: ClassVar[str] = "each frame is 10 to 70 ms late"


@dataclass(frozen=True)
class RateLimit(_Late):
    """A link of few Mbit/s: what does not fit waits, up to 300 ms, and then is lost.

    An end sends more than that, and not so much more that I/O in flight would wait for seconds: the
    target answers the sweep's reads, which are 128 KiB each. `burst` has room for a jumbo frame.
    """

    queue: ClassVar[str] = "tbf rate 2mbit burst 10kb latency 300ms"
    queue_at_target: ClassVar[str] = "tbf rate 10mbit burst 10kb latency 300ms"
    how: ClassVar[str] = "no more than a few Mbit/s pass"


def _kind(kind: type[Impaired], shows: str) -> Kind:
    queues = " or ".join(f"`{queue}`" for queue in (kind.queue, kind.queue_at_target) if queue)
    breaks = f"of what one end of a link sends, {kind.how} ({queues})"
    return Kind(kind, "link", Family.PACKET, breaks, shows, kind.everywhere)


IMPAIRED_KINDS = (
    _kind(PacketLoss, "TCP sends again; I/O waits for that"),
    _kind(Delay, "each answer is late"),
    _kind(Jitter, "each answer is late, and some come in another order"),
    _kind(Reordering, "TCP puts what arrives in order, and may send again for nothing"),
    _kind(Duplication, "TCP drops what it has already"),
    _kind(Corruption, "a checksum does not fit, and TCP sends again; digests see nothing of it"),
    _kind(RateLimit, "what is sent waits in a queue; the map sends less over that path"),
)
