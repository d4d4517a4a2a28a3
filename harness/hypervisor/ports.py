"""Port numbers of 127.0.0.1 that no other testbed on this machine uses."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.errors import HypervisorError
from harness.locks import bound, try_name

CANDIDATES = range(20000, 32000)

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

PORTS_IN_USE = ("sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 || true")
_SOCKET = re.compile(r"^ *\d+: [0-9A-F]+:(?P<port>[0-9A-F]{4}) ", re.MULTILINE)


@contextmanager
def lease_ports(count: int, candidates: Sequence[int] = CANDIDATES) -> Iterator[tuple[int, ...]]:
    """Hold `count` TCP ports of 127.0.0.1, each free, until the block ends.

    A lease is a name that one process of the whole machine can have, whoever its user. A port
    that another process uses is passed over, also one that a guest kept after its owner died.
    Raises HypervisorError if there are too few.
    """
    with ExitStack() as held:
        leased: list[int] = []
        for port in _in_search_order(candidates):
            if len(leased) == count:
                break
            with ExitStack() as attempt:
                if attempt.enter_context(try_name(f"port/{port}")) and _is_free(port):
                    held.enter_context(attempt.pop_all())
                    leased.append(port)
        if len(leased) < count:
            raise HypervisorError(
                f"{count} free ports of 127.0.0.1 are needed, and {len(leased)} were found "
                f"among {len(candidates)}",
                hint="`ss -tlpn` shows who uses them; guests left behind by a killed run are "
                "the usual reason",
            )
        yield tuple(leased)


def free_candidates(listed: str) -> list[int]:
    """The candidates that no TCP socket of a host has, after what PORTS_IN_USE printed there.

    A line of proc_net_tcp(5), `0: 0100007F:4E20 00000000:0000 0A …`, is 127.0.0.1:20000.
    """
    used = {int(found["port"], 16) for found in _SOCKET.finditer(listed)}
    return [port for port in CANDIDATES if port not in used]


def _in_search_order(candidates: Sequence[int]) -> Iterator[int]:
    """First the ports that the kernel never hands out by itself, from a random one on.

    Where the administrator made the kernel's own range so wide that none is left, a leased
    port can be taken away before QEMU opens it; starting the guest then raises PortTaken.
    """
    low, high = _ephemeral_range()
    others = [port for port in candidates if not low <= port <= high]
    kernels = [port for port in candidates if low <= port <= high]
    for ports in (others, kernels):
        start = random.randrange(len(ports)) if ports else 0  # noqa: S311  # no secret
        yield from ports[start:]
        yield from ports[:start]


def _ephemeral_range() -> tuple[int, int]:
    """What the kernel hands out by itself; the file reads `32768 60999` (ip(7))."""
    low, high = _EPHEMERAL.read_text(encoding="ascii").split()
    return int(low), int(high)


def _is_free(port: int) -> bool:
    """Whether no process has this port.

    Asked without SO_REUSEADDR, and so more strictly than QEMU asks: a port whose connections ended
    within the last minute is passed over, too.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return bound(probe, ("127.0.0.1", port))
