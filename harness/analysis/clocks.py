"""Whether the machines' clocks ran as the host's did; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.measurements import ClockReading

_MOST_DRIFT = 500e-6


@dataclass(frozen=True)
class ClockMove:
    """A machine's monotonic clock moved by `moved_ns` against the host's within `within_ns`."""

    machine: str
    moved_ns: int
    within_ns: int


def clock_moves(clocks: Sequence[ClockReading]) -> Iterator[ClockMove]:
    """Every move between two readings that neither their uncertainty nor drift explains.

    Times of that machine are then wrong in between: a clock that stands still while its machine
    does is one of these.
    """
    for machine in dict.fromkeys(clock.machine for clock in clocks):
        for before, after in pairwise(clock for clock in clocks if clock.machine == machine):
            moved_ns = abs(after.offset_ns - before.offset_ns)
            within_ns = after.at_ns - before.at_ns
            known_ns = before.uncertainty_ns + after.uncertainty_ns
            if moved_ns > known_ns + _MOST_DRIFT * within_ns:
                yield ClockMove(machine, moved_ns, within_ns)


def steady(clocks: Sequence[ClockReading], machine: str) -> bool:
    """Whether the times of that machine can be compared with others'."""
    return all(move.machine != machine for move in clock_moves(clocks))
