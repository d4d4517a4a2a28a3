"""What each path carried, and its state in the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.measurements.arrays import Ints


@dataclass(frozen=True, eq=False)
class PathCounters:
    """Bytes that one path carried since it appeared (/sys/block/*/stat), sampled over time.

    `disks` are the SCSI disks that it was, by their names, in their order.
    """

    path: str
    disks: tuple[str, ...]
    at_ns: Ints
    bytes_read: Ints
    bytes_written: Ints

    def __str__(self) -> str:
        return f"path {self.path} ({', '.join(self.disks) or 'no disk'})"

    def between(self, start_ns: int, end_ns: int) -> int | None:
        """Bytes carried in a stretch of time; None unless samples lie within it.

        Only samples inside the stretch count, so what happened outside never leaks in.
        """
        inside = (self.at_ns >= start_ns) & (self.at_ns <= end_ns)
        if np.count_nonzero(inside) < 2:
            return None
        total = (self.bytes_read + self.bytes_written)[inside]
        return int(total[-1] - total[0])


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
