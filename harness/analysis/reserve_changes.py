"""Paths that went into reserve, or came into use, at a time when no fault explains it; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from harness.analysis.path_absences import FEWEST_LOOKS, felt_until_ns, too_late_ns
from harness.analysis.recovery import first_felt_ns
from harness.measurements import FaultRecord, Measurements
from harness.timeline import Happened
from harness.units import NS_PER_S

# What a path went through may be logged, or sampled, a little later than it is back.
LATE_NS = NS_PER_S


@dataclass(frozen=True)
class ReserveChange:
    """A path that went into reserve, or came into use, and stayed there for some samples."""

    path: str
    at_ns: int
    reserve: bool

    def __str__(self) -> str:
        return f"path {self.path} {'went into reserve' if self.reserve else 'came into use'}"


def reserve_changes(measurements: Measurements) -> list[ReserveChange]:
    """The changes that no fault of a path explains, in order, from the first settled phase on.

    A fault explains what comes until its paths have surely taken too long to be back.
    """
    if measurements.before is None:
        return []
    found = [
        change
        for counters in measurements.counters
        for change in _changes(measurements, counters.path, measurements.before.start_ns)
        if not any(_explains(measurements, fault, change) for fault in measurements.faults)
    ]
    return sorted(found, key=lambda change: change.at_ns)


def swaps(measurements: Measurements) -> list[ReserveChange]:
    """The changes by which a path went and came back, before anything else had happened to any.

    A single change may be a failback that was due. After a fault, or the loss of a path, an array
    may take its time to fail back.
    """
    happened = [first_felt_ns(measurements, fault) for fault in measurements.faults]
    happened += [e.at_ns for e in measurements.timeline if e.what is Happened.PATH_FAILED]
    happened += [
        look.at_ns
        for look in measurements.path_states
        if any(look.states.get(one.path) != "active" for one in measurements.counters)
    ]
    until_ns = min(happened, default=None)
    early = [
        change
        for change in reserve_changes(measurements)
        if until_ns is None or change.at_ns < until_ns
    ]
    paths = [change.path for change in early]
    return [change for change in early if paths.count(change.path) > 1]


def _changes(measurements: Measurements, path: str, since_ns: int) -> Iterator[ReserveChange]:
    """From each stretch of samples in which a path stayed where it was to the next.

    Out of the map it is in no group.
    """
    looks = [
        (look.at_ns, path in look.reserve)
        for look in measurements.path_states
        if look.at_ns >= since_ns
        and look.reserve is not None
        and look.states.get(path, "missing") != "missing"
    ]
    was: bool | None = None
    for reserve, group in groupby(looks, key=lambda look: look[1]):
        stretch = list(group)
        if len(stretch) < FEWEST_LOOKS:
            continue
        if was is not None and reserve != was:
            yield ReserveChange(path, stretch[0][0], reserve)
        was = reserve


def _explains(measurements: Measurements, fault: FaultRecord, change: ReserveChange) -> bool:
    from_ns = first_felt_ns(measurements, fault)
    until_ns = max(felt_until_ns(fault), too_late_ns(fault)) + LATE_NS
    return bool(fault.paths) and from_ns <= change.at_ns <= until_ns
