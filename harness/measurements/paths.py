"""What each path carried, and its state in the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from harness.measurements.arrays import Ints, nothing


@dataclass(frozen=True, eq=False)
class PathCounters:
    """Bytes that one path carried since it appeared (/sys/block/*/stat), sampled over time.

    `completed` counts its I/Os, and `took_ms` is the time of all of them together. `disks` are the
    SCSI disks that it was, by their names, in their order. `swept`: others than the load read over
    it, so that of the bytes read it is only roughly known which are the load's.
    """

    path: str
    disks: tuple[str, ...]
    at_ns: Ints
    bytes_read: Ints
    bytes_written: Ints
    completed: Ints = field(default_factory=nothing)
    took_ms: Ints = field(default_factory=nothing)
    swept: bool = False

    def __str__(self) -> str:
        return f"path {self.path} ({', '.join(self.disks) or 'no disk'})"

    @property
    def of_load(self) -> Ints:
        """The bytes by which shares of the load are told: where a sweep reads, those written."""
        return self.bytes_written if self.swept else self.bytes_read + self.bytes_written

    def between(self, start_ns: int, end_ns: int) -> int | None:
        """Bytes carried in a stretch of time; None unless samples lie within it.

        Only samples inside the stretch count, so what happened outside never leaks in.
        """
        return self._grown(self.bytes_read + self.bytes_written, start_ns, end_ns)

    def load_between(self, start_ns: int, end_ns: int) -> int | None:
        """The same of the bytes that tell the shares of the load."""
        return self._grown(self.of_load, start_ns, end_ns)

    def _grown(self, total: Ints, start_ns: int, end_ns: int) -> int | None:
        inside = (self.at_ns >= start_ns) & (self.at_ns <= end_ns)
        if np.count_nonzero(inside) < 2:
            return None
        return int(total[inside][-1] - total[inside][0])


@dataclass(frozen=True, eq=False)
class LinkTraffic:
    """Bytes that the initiator's NIC of a link has sent and received so far, sampled over time.

    `paths` are those over the link. `nic` is what the initiator calls the NIC.
    """

    link: str
    nic: str
    paths: tuple[str, ...]
    at_ns: Ints
    sent: Ints
    received: Ints


@dataclass(frozen=True)
class PathStates:
    """State of every path of the map at one moment: path name -> "active" or "failed".

    Paths in `reserve` are in a group of the map that was not in use; it is None if no group was in
    use then. Those in `joined` have a disk that was not in the map the moment before.
    """

    at_ns: int
    states: Mapping[str, str]
    reserve: frozenset[str] | None = frozenset()
    joined: frozenset[str] = frozenset()


@dataclass(frozen=True)
class UnplannedDisk:
    """A disk of the map that is on no planned path, from the first to the last sample that has it.

    `number` is "8:48". `name` is "" if it was gone before anything else was read of it.
    """

    number: str
    name: str
    start_ns: int
    end_ns: int

    def __str__(self) -> str:
        if not self.name:
            return f"it is not known which path {self.number} of the map was"
        return f"{self.name} ({self.number}) of the map runs over no planned portal"


@dataclass(frozen=True)
class DiskError:
    """What the initiator's kernel said of a disk of a path: an error, a retry or a reset.

    `paths` has several names if several paths had a disk of that name: it may be about any.
    """

    paths: tuple[str, ...]
    at_ns: int
    text: str
