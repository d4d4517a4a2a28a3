"""Whether the machines' clocks ran as the host's did; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.measurements import ClockReading, Measurements

_MOST_DRIFT = 500e-6


@dataclass(frozen=True)
class ClockMove:
    """A machine's monotonic clock moved by `moved_ns` against the host's within `within_ns`."""

    machine: str
    moved_ns: int
    within_ns: int


def clock_moves(measurements: Measurements) -> Iterator[ClockMove]:
    """Every move that neither uncertainty nor drift explains.

    From one reading to the next, and between them: times are converted as if the drift were even
    there, so each look at the clock must find it where an even drift has it. Times of a machine
    whose clock moved are wrong: one that stands still while its machine does is one of these.
    """
    for machine in dict.fromkeys(clock.machine for clock in measurements.clocks):
        readings = [clock for clock in measurements.clocks if clock.machine == machine]
        looks = [look for look in measurements.clock_looks if look.machine == machine]
        for before, after in pairwise(readings):
            yield from _moved(after.offset_ns - before.offset_ns, before, after)
            yield from _moves_between(before, after, looks)


def _moves_between(
    before: ClockReading, after: ClockReading, looks: Sequence[ClockReading]
) -> Iterator[ClockMove]:
    """The furthest move that looks between two readings show, if there is any."""
    moves: list[ClockMove] = []
    for look in looks:
        if before.at_ns < look.at_ns < after.at_ns:
            share = (look.at_ns - before.at_ns) / (after.at_ns - before.at_ns)
            even_ns = before.offset_ns + share * (after.offset_ns - before.offset_ns)
            nearest = min((before, after), key=lambda one: abs(one.at_ns - look.at_ns))
            moves += _moved(round(look.offset_ns - even_ns), nearest, look)
    if moves:
        yield max(moves, key=lambda move: move.moved_ns)


def _moved(moved_ns: int, one: ClockReading, other: ClockReading) -> Iterator[ClockMove]:
    within_ns = abs(other.at_ns - one.at_ns)
    known_ns = one.uncertainty_ns + other.uncertainty_ns
    if abs(moved_ns) > known_ns + _MOST_DRIFT * within_ns:
        yield ClockMove(one.machine, abs(moved_ns), within_ns)


def steady(measurements: Measurements, machine: str) -> bool:
    """Whether the times of that machine can be compared with others'."""
    return all(move.machine != machine for move in clock_moves(measurements))
