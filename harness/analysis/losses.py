"""The losses that a fault was, one after the other: each has its budget; pure."""

from __future__ import annotations

import numpy as np

from harness.analysis.fault_waits import (
    excused_wait,
    given_up_in_use,
    longest_during,
    moment_of,
    moments,
    waits_during,
)
from harness.analysis.stall import Kind, Moment, worst_of
from harness.measurements import FaultRecord, Measurements
from harness.timeline import Event
from harness.units import NS_PER_S

# Of a budget: 1.3 s of 4 s, where paths that were lost at once were given up within 1 s.
_LOSSES_APART = 3


def losses_of(measurements: Measurements, fault: FaultRecord) -> int:
    """How many losses one after the other a fault was: each has its budget."""
    return max(1, len(_losses(measurements, fault)))


def longest_by_losses(
    measurements: Measurements, fault: FaultRecord, kind: type[Kind]
) -> dict[int, Kind]:
    """The longest wait of a fault, of those in which so many losses were, by that number.

    What was sent again over a path that was lost next waited for both: it has a budget for each.
    """
    if fault.limping:
        found = excused_wait(measurements, fault, kind)
        return {1: found} if found else {}
    losses = _losses(measurements, fault)
    ends = moments(measurements, fault)
    longest: dict[int, Kind] = {}
    for number in range(1, len(losses) + 1):
        chosen = []
        for waits in waits_during(measurements, fault, kind):
            met = sum(waits.including(loss).astype(int) for loss in losses)
            chosen.append(waits.only(waits.including(ends) & (np.maximum(met, 1) == number)))
        if found := worst_of(chosen):
            longest[number] = found
    if not longest and (found := longest_during(measurements, fault, kind)):
        longest[1] = found
    return longest


def _losses(measurements: Measurements, fault: FaultRecord) -> list[list[Moment]]:
    """Groups of paths that were given up together, in order, by when each was first given up.

    Only those that may have carried I/O. Paths that are lost at once are given up within a second
    or two, as their timers run. A path that is lost once the others have failed is given up no
    sooner than a new loss can be noticed.
    """
    if fault.io_stops or fault.limping:
        return []
    first: dict[str, Event] = {}
    for event in given_up_in_use(measurements, fault):
        if event.at_ns <= fault.healed_ns:
            first.setdefault(event.path, event)
    apart_ns = fault.budget.seconds * NS_PER_S / _LOSSES_APART
    losses: list[list[Moment]] = []
    latest_ns = 0
    for event in sorted(first.values()):
        if not losses or event.at_ns - latest_ns > apart_ns:
            losses.append([])
        losses[-1].append(moment_of(event))
        latest_ns = event.at_ns
    return losses
