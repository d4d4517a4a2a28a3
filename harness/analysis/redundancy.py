"""When each path that a fault had hit was usable again; pure."""

from __future__ import annotations

from dataclasses import dataclass

from harness.analysis.path_absences import excused_until_ns
from harness.analysis.path_accounts import APART_NS
from harness.analysis.recovery import next_injection_ns, path_returns, paths_hit
from harness.measurements import FaultRecord, Measurements
from harness.timeline import Happened
from harness.units import NS_PER_S


@dataclass(frozen=True)
class Return:
    """A path that was given up, from healing until it was usable again, or until nobody looked."""

    path: str
    start_ns: int
    end_ns: int
    back: bool

    @property
    def seconds(self) -> float:
        return max(0, self.end_ns - self.start_ns) / NS_PER_S


def returns_of(measurements: Measurements, fault: FaultRecord) -> list[Return]:
    """How long each path of a fault that was given up took to come back.

    Until the kernel took it back. If its log does not say so, or samples later than that show the
    path out of use again: until the first sample from which on it was active in all of them.
    """
    io_ended_ns = measurements.phases[-1].end_ns if measurements.phases else fault.healed_ns
    until_ns = next_injection_ns(measurements, fault) or io_ended_ns
    found = []
    hit = paths_hit(measurements, fault)
    for counters, seen in zip(hit, path_returns(measurements, fault), strict=True):
        path = counters.path
        if not _was_lost(measurements, fault, path, until_ns):
            continue
        at_ns = seen.reinstated.at_ns if seen.reinstated else None
        if at_ns is None or _out_of_use(measurements, path, at_ns + APART_NS, until_ns):
            at_ns = _active_for_good_ns(measurements, path, fault.healed_ns, until_ns)
        back = at_ns is not None and at_ns <= until_ns
        end_ns = at_ns if at_ns is not None and back else until_ns
        found.append(Return(path, fault.healed_ns, end_ns, back))
    return found


def _was_lost(measurements: Measurements, fault: FaultRecord, path: str, end_ns: int) -> bool:
    """Whether it was seen to be given up by `end_ns`, by the kernel's log or by the samples.

    The log has no line of a path that leaves the map; the samples do not have its state then.
    """
    until_ns = min(end_ns, excused_until_ns(measurements, fault, path))
    return any(
        event.what is Happened.PATH_FAILED
        and event.path == path
        and fault.injected_ns <= event.at_ns <= until_ns
        for event in measurements.timeline
    ) or _out_of_use(measurements, path, fault.injected_ns, until_ns)


def _out_of_use(measurements: Measurements, path: str, start_ns: int, end_ns: float) -> bool:
    """Whether a sample of a stretch of time shows the path failed, or not in the map."""
    return any(
        look.states.get(path) != "active"
        for look in measurements.path_states
        if start_ns <= look.at_ns <= end_ns
    )


def _active_for_good_ns(
    measurements: Measurements, path: str, start_ns: int, end_ns: int
) -> int | None:
    """The first sample from which on the path was active until the end of a stretch of time."""
    since_ns = None
    for look in measurements.path_states:
        if start_ns <= look.at_ns <= end_ns:
            active = look.states.get(path) == "active"
            since_ns = (since_ns or look.at_ns) if active else None
    return since_ns
