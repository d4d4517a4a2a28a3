"""Whether the lab's own cables carried what was sent into them; pure.

A cable joins the NICs of two guests and nothing else, so one end receives whatever the other sends.
The observer of each end sends a small frame before each of its samples, so that a cable always has
something to carry: that a cable stands still is seen at once, also if the sending NIC does.

Frames that are under way make the counters of both ends differ, and the two are not sampled at the
same instant. So every figure here is a lower bound: at least that much did happen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from harness.analysis.clocks import steady
from harness.analysis.lab_faults import (
    LONGEST_STANDSTILL_S,
    WATCHED_NS,
    LabFault,
    Standstill,
    stretches,
)
from harness.measurements import CableEnd, FaultRecord, Measurements
from harness.topology import called
from harness.units import NS_PER_MS, NS_PER_S

# A frame takes a few milliseconds. Clocks are known to 50 ms, or the evidence is not sound.
_MARGIN_NS = 50 * NS_PER_MS
# A frame that comes later than this is lost; one that comes late is a standstill, not a loss.
_LATE_NS = NS_PER_S
# A NIC whose cable was just plugged in takes frames in only once its driver has noticed.
_SETTLING_NS = NS_PER_S


@dataclass(frozen=True)
class Direction:
    """One direction of a cable: what `sender` sends is for `receiver`."""

    sender: CableEnd
    receiver: CableEnd

    def __str__(self) -> str:
        return f"cable {self.sender.link}, {self.sender.machine} to {self.receiver.machine}"


@dataclass(frozen=True)
class Loss:
    """At least `lost` of `sent` frames did not arrive; it is unknown of `unproven` others."""

    sent: int
    lost: int
    unproven: int
    start_ns: int
    end_ns: int


def directions(measurements: Measurements) -> Iterator[Direction]:
    """Both directions of every cable of which both ends were sampled.

    While a fault disturbs a cable it counts as not plugged in.
    """
    ends = [_judged(end, measurements.faults) for end in measurements.cable_ends]
    for sender in ends:
        for receiver in ends:
            same_cable = sender.link == receiver.link and sender.machine != receiver.machine
            if same_cable and min(len(sender.at_ns), len(receiver.at_ns)) > 1:
                yield Direction(sender, receiver)


def standstills(direction: Direction) -> Iterator[Standstill]:
    """The times for which frames of the sender's observer did not arrive, and nor did others.

    Only while both ends had a carrier and the receiver was watched without a gap.
    """
    for first, last in _quiet_stretches(direction.receiver):
        if standstill := _standstill(direction, first, last):
            yield standstill


def longest_standstill(direction: Direction) -> Standstill | None:
    """The longest of `standstills`; None if there was none."""
    return max(standstills(direction), key=lambda one: one.seconds, default=None)


def loss(direction: Direction, measurements: Measurements) -> Loss:
    """How many frames arrived and how many did not, while both ends had a carrier.

    Until shortly after the last phase: what is read back afterwards would hide as many frames.
    """
    if measurements.phases:
        until_ns = measurements.phases[-1].end_ns + 2 * _LATE_NS
        direction = Direction(
            _until(direction.sender, until_ns), _until(direction.receiver, until_ns)
        )
    sent = int(np.maximum(0, np.diff(direction.sender.frames_sent)).sum())
    parts = [
        part
        for start_ns, end_ns in _plugged_in(direction)
        if (part := _loss_between(direction, start_ns, end_ns))
    ]
    lost = sum(part.lost for part in parts)
    proven = sum(part.sent - part.unproven for part in parts)
    guilty = [part for part in parts if part.lost] or parts
    return Loss(
        sent=sent,
        lost=lost,
        unproven=max(0, sent - proven),
        start_ns=min((part.start_ns for part in guilty), default=0),
        end_ns=max((part.end_ns for part in guilty), default=0),
    )


def watched_share(end: CableEnd, measurements: Measurements) -> float:
    """The share of the phases in which an end was sampled without a gap above half a second."""
    if not measurements.phases or len(end.at_ns) == 0:
        return 0.0
    start_ns, end_ns = measurements.phases[0].start_ns, measurements.phases[-1].end_ns
    gaps = np.diff(np.clip(end.at_ns, start_ns, end_ns))
    return float(gaps[gaps <= WATCHED_NS].sum()) / max(1, end_ns - start_ns)


def cable_faults(measurements: Measurements) -> Iterator[LabFault]:
    """What the lab's own cables and their NICs did wrong, as far as it was seen.

    Nothing is said of a machine whose clock moved: it may have stood still, so its times are wrong.
    """
    for direction in directions(measurements):
        sender, receiver = direction.sender, direction.receiver
        machines = (sender.machine, receiver.machine)
        if not all(steady(measurements, machine) for machine in machines):
            continue
        cable = f"the lab's cable {sender.link}"
        for still in standstills(direction):
            if still.seconds > LONGEST_STANDSTILL_S:
                yield LabFault(
                    f"{cable} stood still: {still.count} frames of {called(sender.machine)} had "
                    f"not arrived at {called(receiver.machine)} after {still.seconds:.2f} s",
                    still.start_ns,
                    still.end_ns,
                )
        frames = loss(direction, measurements)
        if frames.lost:
            text = f"{cable} lost {frames.lost} frames from {called(sender.machine)} to "
            yield LabFault(f"{text}{called(receiver.machine)}", frames.start_ns, frames.end_ns)
        dropped = receiver.dropped_receiving
        if count := int(np.maximum(0, np.diff(dropped)).sum()):
            when = receiver.at_ns[1:][np.diff(dropped) > 0]
            text = f"{cable}: the NIC of {called(receiver.machine)} dropped {count} frames"
            yield LabFault(text, int(when[0]), int(when[-1]))


def _judged(end: CableEnd, faults: Sequence[FaultRecord]) -> CableEnd:
    """The end with a carrier only where it had one before and after, and no fault hit it."""
    changed = np.diff(end.carrier_changes) != 0
    plugged_in = end.carrier.copy()
    plugged_in[:-1] &= ~changed
    plugged_in[1:] &= ~changed
    for fault in faults:
        if end.link in fault.links:
            until_ns = fault.healing_confirmed_ns or end.at_ns.max(initial=0)
            plugged_in &= (end.at_ns < fault.injected_ns) | (end.at_ns > until_ns)
    return replace(end, carrier=plugged_in)


def _until(end: CableEnd, until_ns: int) -> CableEnd:
    """The counters as they were sampled by then."""
    kept = slice(0, int(np.searchsorted(end.at_ns, until_ns, side="right")))
    columns = {
        column.name: getattr(end, column.name)[kept]
        for column in fields(end)
        if isinstance(getattr(end, column.name), np.ndarray)
    }
    return replace(end, **columns)


def _quiet_stretches(receiver: CableEnd) -> Iterator[tuple[int, int]]:
    """First and last sample of each stretch in which a NIC that was watched received nothing."""
    yield from stretches(
        (np.diff(receiver.frames_received) == 0)
        & (np.diff(receiver.at_ns) <= WATCHED_NS)
        & receiver.carrier[:-1]
        & receiver.carrier[1:]
    )


def _standstill(direction: Direction, first: int, last: int) -> Standstill | None:
    """What was sent during a quiet stretch, `first` to `last` sample of the receiver."""
    sender, receiver = direction.sender, direction.receiver
    start_ns, end_ns = int(receiver.at_ns[first]), int(receiver.at_ns[last])
    during = slice(
        np.searchsorted(sender.at_ns, start_ns + _MARGIN_NS, side="left"),
        np.searchsorted(sender.at_ns, end_ns - _MARGIN_NS, side="right"),
    )
    beats, at_ns = sender.beats[during], sender.at_ns[during]
    if len(beats) < 2 or beats[-1] <= beats[0] or not sender.carrier[during].all():
        return None
    # Not the first: its beat may have been sent long before the sample, and have arrived.
    sent = int(np.argmax(beats > beats[0]))
    return Standstill(int(at_ns[sent]), end_ns, int(beats[-1] - beats[0]))


def _plugged_in(direction: Direction) -> Iterator[tuple[int, int]]:
    """The stretches of time in which both ends had a carrier and counted on from what they had."""
    ends = (direction.sender, direction.receiver)
    start_ns = max(int(end.at_ns[0]) for end in ends)
    end_ns = min(int(end.at_ns[-1]) for end in ends)
    broken = np.unique(np.concatenate([_breaks(end) for end in ends]))
    begins = np.concatenate(([start_ns], broken + _SETTLING_NS))
    finishes = np.concatenate((broken, [end_ns]))
    for begin, finish in zip(begins.tolist(), finishes.tolist(), strict=True):
        if begin < finish:
            yield begin, finish


def _breaks(end: CableEnd) -> np.ndarray:
    """When each sample without a carrier, or beside one, was taken, and each beside a reset."""
    restarted = (np.diff(end.frames_received) < 0) | (np.diff(end.frames_sent) < 0)
    between = restarted | ~end.carrier[:-1] | ~end.carrier[1:]
    beside = np.zeros(len(end.at_ns), dtype=np.bool_)
    beside[:-1] |= between
    beside[1:] |= between
    return end.at_ns[beside]


def _loss_between(direction: Direction, start_ns: int, end_ns: int) -> Loss | None:
    """What was sent in a stretch of time, against what arrived from before it until long after it.

    Frames that arrived just before or just after may hide as many that were lost: unproven.
    """
    sender, receiver = direction.sender, direction.receiver
    received = receiver.at_ns[(receiver.at_ns >= start_ns) & (receiver.at_ns <= end_ns)]
    if len(received) < 2:
        return None
    inside = (sender.at_ns >= received[0] + _MARGIN_NS) & (sender.at_ns <= received[-1] - _LATE_NS)
    if np.count_nonzero(inside) < 2:
        return None
    sent_at, counts = sender.at_ns[inside], sender.frames_sent[inside]
    before = np.searchsorted(receiver.at_ns, sent_at[0] - _MARGIN_NS, side="right") - 1
    after = np.searchsorted(receiver.at_ns, sent_at[-1] + _LATE_NS, side="left")
    arrived = int(receiver.frames_received[after] - receiver.frames_received[before])
    sent = int(counts[-1] - counts[0])
    return Loss(
        sent=sent,
        lost=max(0, sent - arrived),
        unproven=min(sent, max(0, arrived - sent)),
        start_ns=int(sent_at[0]),
        end_ns=int(sent_at[-1]),
    )
