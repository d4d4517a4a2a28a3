"""What the lab itself did: its cables, its disks, and its processors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measurements.arrays import Bools, Ints


@dataclass(frozen=True, eq=False)
class CableEnd:
    """What the NIC of `machine` at the end of a cable of the lab's own has carried, over time.

    Frames and bytes count since the NIC appeared. `beats` are frames that the observer has sent:
    one before each sample, unless that was impossible. `carrier` tells whether the cable was
    plugged in, `carrier_changes` how often that has changed.
    """

    machine: str
    link: str
    at_ns: Ints
    frames_sent: Ints
    frames_received: Ints
    bytes_sent: Ints
    bytes_received: Ints
    dropped_sending: Ints
    dropped_receiving: Ints
    beats: Ints
    carrier_changes: Ints
    carrier: Bools


@dataclass(frozen=True, eq=False)
class LabDisk:
    """I/Os of a disk that the lab lends to `machine`: `in_flight` then, `completed` until then.

    Sampled over time, from /sys/block/*/stat; `disk` is its name there.
    """

    machine: str
    disk: str
    at_ns: Ints
    in_flight: Ints
    completed: Ints


@dataclass(frozen=True, eq=False)
class ProcessorTime:
    """What the host's scheduler gave to the threads of a testbed's guests since they began.

    `at_ns` has one entry a sample. `ran_ns` is time on a processor, `waited_ns` time ready to run
    without one (steal time): a row a sample, a column a thread. `machines` says whose each is.
    """

    at_ns: Ints
    ran_ns: Ints
    waited_ns: Ints
    machines: tuple[str, ...]

    def waited_between(self, start_ns: int, end_ns: int, machine: str = "") -> int:
        """Nanoseconds of a stretch of time in which a machine, or any, can have stood still for it.

        Those of the thread that waited the longest: what others waited meanwhile cost no more.
        """
        grown = self._grown(self.waited_ns, start_ns, end_ns)
        its_own = [
            waited
            for name, waited in zip(self.machines, grown, strict=True)
            if not machine or name == machine
        ]
        return min(int(max(its_own, default=0)), end_ns - start_ns)

    def steal(self, start_ns: int, end_ns: int) -> float:
        """Share of the processor time wanted in a stretch of time that was not given, 0 to 1."""
        waited = int(self._grown(self.waited_ns, start_ns, end_ns).sum())
        wanted = waited + int(self._grown(self.ran_ns, start_ns, end_ns).sum())
        return waited / wanted if wanted else 0.0

    def _grown(self, total: Ints, start_ns: int, end_ns: int) -> NDArray[np.float64]:
        """The growth of each thread's total; between two samples it is taken as even."""
        ends = [np.interp([start_ns, end_ns], self.at_ns, thread) for thread in total.T]
        return np.array([end - start for start, end in ends])
