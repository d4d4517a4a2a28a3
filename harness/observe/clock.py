"""A machine's clock against the host's, from exchanges over a channel that stays open."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from harness.measurements import ClockReading


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
        starts = [r.at_ns + r.offset_ns for r in self.readings]
        after = bisect_right(starts, machine_ns)
        if len(self.readings) == 1 or after == 0:
            return machine_ns - self.readings[0].offset_ns
        if after == len(self.readings):
            return machine_ns - self.readings[-1].offset_ns
        early, late = self.readings[after - 1], self.readings[after]
        share = (machine_ns - starts[after - 1]) / (starts[after] - starts[after - 1])
        return machine_ns - early.offset_ns - round(share * (late.offset_ns - early.offset_ns))

    @property
    def uncertainty_ns(self) -> int:
        """The worst of the readings."""
        return max(r.uncertainty_ns for r in self.readings)
