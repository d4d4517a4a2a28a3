"""Short labels for the events of a timeline, arranged so that none covers another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.measurements import Measurements
from harness.reporting.series import Axis
from harness.timeline import Event, Happened
from harness.units import NS_PER_MS

MOST_LABELS = 28
CROWDED = 14
MOST_ROWS = 9
MOST_NAMED = 2  # paths in a label
_SHORT = {
    Happened.RECOVERY_TIMED_OUT: "recovery timed out",
    Happened.KERNEL_TROUBLE: "kernel trouble!",
    Happened.MAP_ERROR: "map error!",
}
# Where the picture starts is plain to see; the others are only worth a label where there is room.
_UNLABELLED = {Happened.IO_STARTED}
_MINOR = {Happened.FAULT_CONFIRMED, Happened.HEALING_CONFIRMED, Happened.IO_ENDED}


@dataclass(frozen=True)
class Label:
    """One or more events of one kind, close together: what to write, and at which second."""

    at_s: float
    what: Happened
    text: str


@dataclass(frozen=True)
class Placed:
    """A label in row `row` (0 is the highest), beginning at `left` (same unit as the widths)."""

    label: Label
    row: int
    left: float


def event_labels(measurements: Measurements, axis: Axis) -> tuple[Label, ...]:
    """One label per group of like events; groups widen until at most `MOST_LABELS` remain."""
    window_ns = 250 * NS_PER_MS
    events = [e for e in measurements.timeline if e.what not in _UNLABELLED]
    if len(_group(events, window_ns)) > CROWDED:
        events = [e for e in events if e.what not in _MINOR]
    while True:
        groups = _group(events, window_ns)
        if len(groups) <= MOST_LABELS:
            return tuple(_label(group, measurements, axis) for group in groups)
        window_ns *= 2


def place(
    labels: Sequence[Label],
    *,
    anchor: Callable[[Label], float],
    width: Callable[[Label], float],
    right: float,
    gap: float,
) -> tuple[Placed, ...]:
    """Give every label a row: a staircase falling to the right.

    A label begins at its anchor and its leader goes down from there. It sits below every
    earlier label that still reaches its anchor, so that no leader crosses a text. A label
    that would leave the picture on the right is moved left, into a row of its own.
    """
    placed: list[Placed] = []
    ends: list[float] = []
    for label in sorted(labels, key=lambda one: one.at_s):
        at, wide = anchor(label), width(label)
        left = at if at + wide <= right else at - wide - gap
        taken = {p.row for p, end in zip(placed, ends, strict=True) if end > left}
        row = 1 + max(taken, default=-1)
        if row >= MOST_ROWS:
            row = min(set(range(row + 1)) - taken)
        placed.append(Placed(label, row, left))
        ends.append(max(left + wide, at) + gap)
    return tuple(placed)


def _group(events: Sequence[Event], window_ns: int) -> list[list[Event]]:
    groups: list[list[Event]] = []
    latest: dict[Happened, list[Event]] = {}
    for event in events:
        group = latest.get(event.what)
        if group is not None and event.at_ns - group[-1].at_ns <= window_ns:
            group.append(event)
            continue
        latest[event.what] = [event]
        groups.append(latest[event.what])
    return groups


def _label(group: Sequence[Event], measurements: Measurements, axis: Axis) -> Label:
    first = group[0]
    text = _SHORT.get(first.what, first.what.value)
    if first.what is Happened.FAULT_INJECTED:
        names = [
            fault.name
            for fault in measurements.faults
            if abs(fault.injected_ns - first.at_ns) < NS_PER_MS
        ]
        text = ": ".join([text, *names[:1]])
    paths = list(dict.fromkeys(event.path for event in group if event.path))
    if 0 < len(paths) <= MOST_NAMED:
        text += f": {', '.join(paths)}"
    if len(group) > 1:
        text += f" \N{MULTIPLICATION SIGN}{len(group)}"
    at_s = axis.seconds(first.at_ns)
    return Label(at_s, first.what, f"{text} · {at_s:.2f} s")
