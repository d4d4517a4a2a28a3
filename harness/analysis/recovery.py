"""After healing: how paths come back, and from when on a fault excuses nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.measurements import FaultRecord, Measurements, PathCounters
from harness.timeline import Event, Happened


@dataclass(frozen=True)
class PathReturn:
    """How one path came back; None for what was not seen."""

    recovered: Event | None = None
    reinstated: Event | None = None
    carries: Event | None = None

    @property
    def at_ns(self) -> float:
        """When it came back, for telling which path was first."""
        seen = self.reinstated or self.recovered or self.carries
        return seen.at_ns if seen else np.inf


def path_returns(measurements: Measurements, fault: FaultRecord) -> list[PathReturn]:
    """How each path that the fault had hit came back, before the next fault."""
    until_ns = next_injection_ns(measurements, fault) or np.inf
    window = [e for e in measurements.timeline if fault.injected_ns <= e.at_ns <= until_ns]
    clock_ns = clock_uncertainty_ns(measurements)
    returns = []
    for counters in paths_hit(measurements, fault):
        about = [e for e in window if e.path == counters.path]
        failed = [
            e.at_ns
            for e in about
            if e.what is Happened.PATH_FAILED and e.at_ns <= fault.healing_confirmed_ns
        ]
        # Not since it was healed: the order takes effect before it returns.
        later = [e for e in about if e.at_ns >= max(failed, default=0)]
        recovered = next((e for e in later if e.what is Happened.SESSION_RECOVERED), None)
        reinstated = next((e for e in later if e.what is Happened.PATH_REINSTATED and failed), None)
        since_ns = max(fault.healed_ns, reinstated.at_ns if reinstated else 0)
        carries = _carries_io(counters, since_ns, until_ns, clock_ns)
        returns.append(PathReturn(recovered, reinstated, carries))
    return returns


def back_ns(measurements: Measurements, fault: FaultRecord) -> int:
    """The time when a fault is over: healing is confirmed, and its paths carry I/O again.

    A path that was not seen to do so counts from when it was reinstated, or from healing.
    """
    seen = [r.carries or r.reinstated for r in path_returns(measurements, fault)]
    return max([fault.healing_confirmed_ns, *(event.at_ns for event in seen if event)])


def _carries_io(
    counters: PathCounters, since_ns: int, until_ns: float, clock_ns: int
) -> Event | None:
    """When a path's byte count was first seen to grow, within a stretch of time."""
    inside = (counters.at_ns >= since_ns) & (counters.at_ns <= until_ns)
    at_ns = counters.at_ns[inside]
    total = (counters.bytes_read + counters.bytes_written)[inside]
    grown = np.flatnonzero(np.diff(total) > 0)
    if len(grown) == 0:
        return None
    before, after = (int(at_ns[grown[0] + n]) for n in (0, 1))
    uncertainty_ns = clock_ns + after - before
    name = counters.path
    return Event(after, Happened.PATH_CARRIES_IO, "sysfs", name, uncertainty_ns, path=name)


def paths_hit(measurements: Measurements, fault: FaultRecord) -> list[PathCounters]:
    """The paths that a fault hit."""
    return [c for c in measurements.counters if c.path in fault.paths]


def next_injection_ns(measurements: Measurements, fault: FaultRecord) -> int | None:
    """When the next fault was injected; None if it was the last."""
    later = [f.injected_ns for f in measurements.faults if f.injected_ns > fault.injected_ns]
    return min(later, default=None)


def first_felt_ns(measurements: Measurements, fault: FaultRecord) -> int:
    """The earliest time at which a machine can have seen anything of a fault.

    It was injected by the host's clock, and those of the machines are not known exactly.
    """
    log_ns = max((log.error_ns for log in measurements.kernel_logs), default=0)
    return fault.felt_from_ns - clock_uncertainty_ns(measurements) - log_ns


def clock_uncertainty_ns(measurements: Measurements) -> int:
    """The worst of all clocks."""
    return max((reading.uncertainty_ns for reading in measurements.clocks), default=0)
