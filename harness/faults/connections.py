"""What TCP says of the connections of paths. Source: tcp_stats_print() in iproute2's misc/ss.c."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from harness.topology import Address, Path, Role

# Header off, one line each, with what the kernel knows of it; no State column for one state alone.
ARGV = ("ss", "-tinHO", "state", "established")


@dataclass(frozen=True)
class Connection:
    """A connection as one end sees it: its ends, the smoothed round trip, and what it counts.

    `sent` are segments with data, `retransmitted` those of them that were sent again, `duplicates`
    those that the peer says it got twice, `reordered` how often it got them in another order.
    `acknowledged` are bytes.
    """

    local: tuple[Address, int]
    peer: tuple[Address, int]
    round_trip_ms: float
    acknowledged: int
    sent: int = 0
    retransmitted: int = 0
    duplicates: int = 0
    reordered: int = 0

    @property
    def lost(self) -> int:
        """Segments that were sent again as they were lost; below zero if the network doubled some.

        Under emulation TCP sends many again only since their acknowledgements are late: those the
        peer got twice, and says so (RFC 2883; tcp_dsack_seen() in the kernel's tcp_input.c).
        """
        return self.retransmitted - self.duplicates

    def is_of(self, path: Path, at: Role) -> bool:
        """Whether it is the connection of a path, as the end of that role sees it."""
        portal = path.portal.portal
        target, initiator = (portal.address, portal.port), path.link.address
        if at is Role.TARGET:
            return (self.local, self.peer[0]) == (target, initiator)
        return (self.peer, self.local[0]) == (target, initiator)


def parse_connections(told: str) -> list[Connection]:
    """The connections that `ss -tinHO state established` prints, but for those without figures.

    Real line (iproute2 6.1, shortened):
    `0 0 127.0.0.1:52412 127.0.0.1:43345 cubic rto:204 rtt:0.013/0.006 bytes_acked:100001
    data_segs_out:90 retrans:0/1 dsack_dups:1 reord_seen:2`. What is zero is not printed.
    """
    return list(filter(None, map(_connection, told.splitlines())))


def _connection(line: str) -> Connection | None:
    words = line.split()
    round_trip = re.search(r" rtt:([\d.]+)/", line)
    if len(words) < 4 or round_trip is None:
        return None
    local, peer = map(_end, words[2:4])
    if local is None or peer is None:
        return None
    return Connection(
        local,
        peer,
        float(round_trip[1]),
        acknowledged=_count(line, r"bytes_acked:(\d+)"),
        sent=_count(line, r"data_segs_out:(\d+)"),
        retransmitted=_count(line, r"retrans:\d+/(\d+)"),
        duplicates=_count(line, r"dsack_dups:(\d+)"),
        reordered=_count(line, r"reord_seen:(\d+)"),
    )


def _end(text: str) -> tuple[Address, int] | None:
    """An address and a port: `172.16.0.101%ens16:40312`, `[2001:db8::1]:3260`.

    After the percent sign is the NIC that the connection is bound to.
    """
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return (address, int(port)) if port.isdecimal() else None


def _count(line: str, pattern: str) -> int:
    found = re.search(rf" {pattern}", line)
    return int(found[1]) if found else 0


def of_paths(
    connections: Iterable[Connection], paths: Iterable[Path], at: Role
) -> list[Connection]:
    """The connections of these paths, as the end of a role sees them."""
    every = list(paths)
    return [one for one in connections if any(one.is_of(path, at) for path in every)]
