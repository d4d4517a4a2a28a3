"""Whether the lab's own cables carried what was sent into them; pure.

A cable joins the NICs of two guests and nothing else, so one end receives whatever the other sends.
Frames that are under way make the counters of both ends differ, and the two are not sampled at the
same instant. So every figure here is a lower bound: at least that much did happen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.measurements import CableEnd, Measurements
from harness.standstill import LONGEST_STANDSTILL_S, WATCHED_NS, Standstill, stretches
from harness.units import NS_PER_MS, NS_PER_S

# A frame takes a few milliseconds, and both clocks are known better than to this.
_MARGIN_NS = 100 * NS_PER_MS
# A NIC whose cable was just plugged in takes frames in only once its driver has noticed.
_SETTLING_NS = NS_PER_S


@dataclass(frozen=True)
class Direction:
    """One direction of a cable: what `sender` sends is for `receiver`."""

    sender: CableEnd
    receiver: CableEnd

    def __str__(self) -> str:
        return f"cable {self.sender.fabric}, {self.sender.machine} to {self.receiver.machine}"


def directions(measurements: Measurements) -> Iterator[Direction]:
    """Both directions of every cable of which both ends were sampled."""
    ends = measurements.cable_ends
    for sender in ends:
        for receiver in ends:
            same_cable = sender.fabric == receiver.fabric and sender.machine != receiver.machine
            if same_cable and min(len(sender.at_ns), len(receiver.at_ns)) > 1:
                yield Direction(sender, receiver)


def longest_standstill(direction: Direction) -> Standstill | None:
    """The longest time for which sent frames did not arrive; None if there was none.

    Only while both ends had a carrier and the receiver was watched without a gap.
    """
    found = [
        standstill
        for first, last in _quiet_stretches(direction.receiver)
        if (standstill := _standstill(direction, first, last))
    ]
    return max(found, key=lambda one: one.seconds, default=None)


def frames_lost(direction: Direction) -> int:
    """How many frames were sent and did not arrive, at least, while both ends had a carrier."""
    return sum(_lost_between(direction, start, end) for start, end in _plugged_in(direction))


def cable_problems(measurements: Measurements) -> list[str]:
    """What is wrong with the lab's own cables, as far as it was seen."""
    problems = []
    for direction in directions(measurements):
        still = longest_standstill(direction)
        if still and still.seconds > LONGEST_STANDSTILL_S:
            problems.append(
                f"the lab's cable {direction.sender.fabric} stood still: {still.count} frames of "
                f"the {direction.sender.machine} had not arrived at the "
                f"{direction.receiver.machine} after {still.seconds:.2f} s"
            )
        if lost := frames_lost(direction):
            problems.append(
                f"the lab's cable {direction.sender.fabric} lost {lost} frames from the "
                f"{direction.sender.machine} to the {direction.receiver.machine}"
            )
    return problems


def _quiet_stretches(receiver: CableEnd) -> Iterator[tuple[int, int]]:
    """First and last sample of each stretch in which a NIC that was watched received nothing."""
    quiet = (
        (np.diff(receiver.frames_received) == 0)
        & (np.diff(receiver.at_ns) <= WATCHED_NS)
        & receiver.carrier[:-1]
        & receiver.carrier[1:]
    )
    yield from stretches(quiet)


def _standstill(direction: Direction, first: int, last: int) -> Standstill | None:
    """What was sent during a quiet stretch, `first` to `last` sample of the receiver."""
    sender, receiver = direction.sender, direction.receiver
    start_ns, end_ns = int(receiver.at_ns[first]), int(receiver.at_ns[last])
    during = (sender.at_ns >= start_ns + _MARGIN_NS) & (sender.at_ns <= end_ns - _MARGIN_NS)
    sent, at_ns = sender.frames_sent[during], sender.at_ns[during]
    if len(sent) < 2 or sent[-1] <= sent[0] or not sender.carrier[during].all():
        return None
    first_sent = int(np.argmax(sent > sent[0]))
    return Standstill(int(at_ns[first_sent]), end_ns, int(sent[-1] - sent[0]))


def _plugged_in(direction: Direction) -> Iterator[tuple[int, int]]:
    """The stretches of time in which both ends had a carrier and counted on from what they had."""
    ends = (direction.sender, direction.receiver)
    start_ns = max(int(end.at_ns[0]) for end in ends)
    end_ns = min(int(end.at_ns[-1]) for end in ends)
    breaks = sorted({at_ns for end in ends for at_ns in _breaks(end)})
    for begin, finish in pairwise([start_ns - _SETTLING_NS, *breaks, end_ns]):
        yield max(start_ns, begin + _SETTLING_NS), finish


def _breaks(end: CableEnd) -> Iterator[int]:
    """Every sample without a carrier, those beside it, and those that count anew after a reset."""
    restarted = np.diff(end.frames_received) < 0
    restarted |= np.diff(end.frames_sent) < 0
    down = ~end.carrier
    broken = np.zeros(len(end.at_ns), dtype=np.bool_)
    broken[:-1] |= restarted | down[1:]
    broken[1:] |= restarted | down[:-1]
    yield from end.at_ns[broken | down].tolist()


def _lost_between(direction: Direction, start_ns: int, end_ns: int) -> int:
    """What was sent in a stretch of time, less all that arrived from before it until after it."""
    sender, receiver = direction.sender, direction.receiver
    received = receiver.at_ns[(receiver.at_ns >= start_ns) & (receiver.at_ns <= end_ns)]
    if len(received) < 2:
        return 0
    inside = (sender.at_ns >= received[0] + _MARGIN_NS) & (
        sender.at_ns <= received[-1] - _MARGIN_NS
    )
    if np.count_nonzero(inside) < 2:
        return 0
    sent_at, sent = sender.at_ns[inside], sender.frames_sent[inside]
    before = np.searchsorted(receiver.at_ns, sent_at[0] - _MARGIN_NS, side="right") - 1
    after = np.searchsorted(receiver.at_ns, sent_at[-1] + _MARGIN_NS, side="left")
    arrived = receiver.frames_received[after] - receiver.frames_received[before]
    return max(0, int(sent[-1] - sent[0] - arrived))
