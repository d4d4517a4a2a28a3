"""What was seen of each machine: its kernel log, its clock, and how well it was watched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.measurements.arrays import Ints


@dataclass(frozen=True)
class KernelMessage:
    """One record of a guest's kernel log; `level` as in syslog(3), 0 is the worst."""

    at_ns: int
    level: int
    text: str


@dataclass(frozen=True)
class KernelLog:
    """A machine's kernel log during the test; `lost` counts records known to be missing.

    Its clock is related to the machine's monotonic one to within `error_ns`.
    """

    machine: str
    messages: tuple[KernelMessage, ...]
    lost: int
    error_ns: int = 0


@dataclass(frozen=True)
class ClockReading:
    """Guest monotonic minus host monotonic, measured at host time `at_ns`."""

    machine: str
    at_ns: int
    offset_ns: int
    uncertainty_ns: int


@dataclass(frozen=True, eq=False)
class Watching:
    """How well one machine was watched from `start_ns` to `end_ns`.

    `wanted_per_s` samples a second were asked for, and taken `at_ns`, when its wall clock was
    ahead of its monotonic one by `wall_ahead_ns` and the observer had had `cpu_ns` of processor
    time. `missing_marks` were written into its kernel log and are not there; `died` says how the
    observer ended too early.
    """

    machine: str
    start_ns: int
    end_ns: int
    at_ns: Ints
    wall_ahead_ns: Ints
    cpu_ns: Ints
    wanted_per_s: float = 10.0
    missing_marks: tuple[str, ...] = ()
    died: str = ""

    @property
    def samples_per_s(self) -> float:
        """Samples a second, by the median of the intervals; 0 if there are none."""
        if len(self.at_ns) < 2:
            return 0.0
        return 1e9 / float(np.median(np.diff(self.at_ns)))

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Begin and end of the gap from each sample to the next, the edges included."""
        return pairwise([self.start_ns, *self.at_ns.tolist(), self.end_ns])

    @property
    def cpu_share(self) -> float:
        """Share of one processor that the observer took; 0 if it told less than twice."""
        told = np.flatnonzero(np.diff(self.cpu_ns, prepend=-1))  # others repeat what was told
        if len(told) < 2:
            return 0.0
        first, last = told[0], told[-1]
        taken = self.cpu_ns[last] - self.cpu_ns[first]
        return float(taken) / float(self.at_ns[last] - self.at_ns[first])

    @property
    def wall_jump_ns(self) -> int:
        """The largest jump of the wall clock between two samples."""
        return int(np.abs(np.diff(self.wall_ahead_ns)).max(initial=0))
