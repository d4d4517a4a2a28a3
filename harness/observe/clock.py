"""A machine's clock against the host's, from exchanges over a channel that stays open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from harness.measurements import ClockReading, Ints


@dataclass(frozen=True)
class Exchange:
    """One question and answer: host time before and after, machine time in between (ns)."""

    asked_ns: int
    answered_ns: int
    machine_ns: int


def reading(machine: str, exchanges: Iterable[Exchange]) -> ClockReading:
    """The offset from the exchange with the shortest round trip (RFC 5905 section 10).

    The answer was given somewhere within the round trip, so half of it is the uncertainty.
    """
    best = min(exchanges, key=lambda e: e.answered_ns - e.asked_ns)
    middle_ns = (best.asked_ns + best.answered_ns) // 2
    return ClockReading(
        machine=machine,
        at_ns=middle_ns,
        offset_ns=best.machine_ns - middle_ns,
        uncertainty_ns=(best.answered_ns - best.asked_ns + 1) // 2,
    )


@dataclass(frozen=True)
class Clock:
    """Converts a machine's monotonic time to the host's; between readings the drift is linear.

    Under emulation a guest's clock drifts by hundreds of parts per million, which over a
    test is more than the uncertainty of one reading.
    """

    readings: tuple[ClockReading, ...]

    def to_host(self, machine_ns: int) -> int:
        """Host monotonic time, in nanoseconds."""
        return int(self.array_to_host(np.array([machine_ns]))[0])

    def array_to_host(self, machine_ns: Ints) -> Ints:
        """The same for many times at once."""
        starts = [r.at_ns + r.offset_ns for r in self.readings]
        offsets = np.interp(machine_ns, starts, [r.offset_ns for r in self.readings])
        return machine_ns - np.round(offsets).astype(np.int64)

    @property
    def uncertainty_ns(self) -> int:
        """The worst of the readings."""
        return max(r.uncertainty_ns for r in self.readings)
