"""Paths that samples show out of use at a time when no fault explains it; pure.

The kernel logs each path that it gives up, but nothing of one that leaves the map: that is loaded
without a disk that is gone (see `kernel_log` in harness/transport).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.analysis.path_accounts import APART_NS
from harness.analysis.recovery import first_felt_ns
from harness.measurements import FaultRecord, Measurements
from harness.timeline import Happened
from harness.units import NS_PER_S

# Programs log in and look at paths, and no timers: on a busy emulated machine they took 9.3 s for
# what the settings allow 9 s for.
PROVEN_BY = 2
# Fewer in a row may be a map that is just loaded anew.
FEWEST_LOOKS = 3

_Seen = tuple[int, str]  # when, in nanoseconds, and the state


@dataclass(frozen=True)
class Absence:
    """A path that was not in use, from one sample to another, without a fault there.

    It is `sure` if it lasted longer than the clocks run apart, in several samples, and the path was
    in use at another time: one that never was may go by a name that is not known.
    """

    path: str
    start_ns: int
    end_ns: int
    sure: bool
    text: str


def unexplained_absences(measurements: Measurements) -> list[Absence]:
    """The absences that began outside the time of every fault that hit their path.

    A path that was "failed" only counts if it was so in the first sample already: any other must
    stand in the kernel's log.
    """
    looks = measurements.path_states
    if not looks:
        return []
    begun_ns = measurements.phases[0].start_ns if measurements.phases else looks[0].at_ns
    found = []
    for counters in measurements.counters:
        path = counters.path
        seen = [(look.at_ns, look.states.get(path, "missing")) for look in looks]
        faults = [fault for fault in measurements.faults if path in fault.paths]
        was_in_use = any(state == "active" for _, state in seen)
        for outage in _outages(seen):
            start_ns = outage[0][0]
            if any(_explains(measurements, fault, path, start_ns) for fault in faults):
                continue
            later = min((f.injected_ns for f in faults if f.injected_ns > start_ns), default=None)
            inside = [at_ns for at_ns, _ in outage if later is None or at_ns < later]
            lasted_ns = inside[-1] - start_ns
            sure = was_in_use and len(inside) >= FEWEST_LOOKS and lasted_ns > APART_NS
            since_s = (start_ns - begun_ns) / NS_PER_S
            state = "missing" if _left_the_map(outage) else "failed"
            text = (
                f"path {path} was {state} for {lasted_ns / NS_PER_S:.1f} s from {since_s:.2f} s on"
            )
            found.append(Absence(path, start_ns, inside[-1], sure, text))
    return found


def _explains(measurements: Measurements, fault: FaultRecord, path: str, at_ns: int) -> bool:
    from_ns = first_felt_ns(measurements, fault)
    return from_ns <= at_ns <= excused_until_ns(measurements, fault, path)


def felt_until_ns(fault: FaultRecord) -> float:
    """The latest time at which the kernel may give a path up for a fault, even if healed early.

    What it does to a path that may go on can begin as late as at its end.
    """
    begins_ns = fault.healing_confirmed_ns if fault.limping else fault.injected_ns
    return max(fault.healing_confirmed_ns, begins_ns + fault.budget.seconds * NS_PER_S)


def excused_until_ns(measurements: Measurements, fault: FaultRecord, path: str) -> float:
    """The end of the time in which a fault explains a loss: once the path is back, a loss is new.

    What came before its healing was confirmed is the fault's in any case. A path that is not back
    yet may be given up once more: the map is loaded anew while path groups change, and takes every
    path for usable at first. So it is until the way back has surely taken too long.
    One that had left the map is back as it joins it again: the kernel logs nothing of that.
    """
    felt_ns = felt_until_ns(fault)
    failed = first_given_up_ns(measurements, fault, path)
    if failed is None:
        return felt_ns
    down_ns = max(felt_ns, too_late_ns(fault))
    since_ns = max(failed, fault.ordered_ns)  # the order takes effect before it returns
    reinstated = (
        e.at_ns
        for e in measurements.timeline
        if e.what is Happened.PATH_REINSTATED and e.path == path and e.at_ns >= since_ns
    )
    back = (next(reinstated, None), _joined_again_ns(measurements, path, since_ns))
    back_ns = min((at_ns for at_ns in back if at_ns is not None), default=down_ns)
    return max(min(back_ns, down_ns), fault.healing_confirmed_ns)


def _joined_again_ns(measurements: Measurements, path: str, since_ns: int) -> int | None:
    """When a path that had left the map was in use there again; None if that was not seen.

    A map that is loaded anew shows a dead path as active for a moment. So it must have carried
    something, and stayed for longer than that.
    """
    counters = next((one for one in measurements.counters if one.path == path), None)
    if counters is None:
        return None
    looks = (look for look in measurements.path_states if look.at_ns >= since_ns)
    for active, group in groupby(looks, key=lambda look: look.states.get(path) == "active"):
        stretch = list(group)
        start_ns, end_ns = stretch[0].at_ns, stretch[-1].at_ns
        joined = active and path in stretch[0].joined
        stayed = len(stretch) >= FEWEST_LOOKS and end_ns - start_ns > APART_NS
        if joined and stayed and counters.between(start_ns, end_ns):
            return start_ns
    return None


def first_given_up_ns(measurements: Measurements, fault: FaultRecord, path: str) -> int | None:
    """When a path was first given up for a fault; None if it was not."""
    from_ns = first_felt_ns(measurements, fault)
    times = (
        e.at_ns
        for e in measurements.timeline
        if e.what is Happened.PATH_FAILED
        and e.path == path
        and from_ns <= e.at_ns <= felt_until_ns(fault)
    )
    return next(times, None)


def too_late_ns(fault: FaultRecord) -> float:
    """When a path that is not back yet has surely taken longer than the settings allow."""
    return fault.healing_confirmed_ns + PROVEN_BY * fault.returning.seconds * NS_PER_S


def _outages(seen: Sequence[_Seen]) -> Iterator[Sequence[_Seen]]:
    """Stretches of samples without use that the kernel's log need not tell of."""
    for in_use, group in groupby(seen, key=lambda one: one[1] == "active"):
        outage = list(group)
        if not in_use and (outage[0] == seen[0] or _left_the_map(outage)):
            yield outage


def _left_the_map(outage: Sequence[_Seen]) -> bool:
    return any(state == "missing" for _, state in outage)
