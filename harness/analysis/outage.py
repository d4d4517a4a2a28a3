"""The part of a fault in which I/O goes on over the surviving paths; pure."""

from __future__ import annotations

from harness.analysis.fault_effect import in_reserve
from harness.analysis.fault_waits import given_up_ns, longest_during
from harness.analysis.stall import Stall
from harness.measurements import FaultRecord, Measurements, PathCounters
from harness.timeline import Phase
from harness.units import NS_PER_MS

# What waited is sent over the surviving paths at once, and is not what they deliver.
_SETTLING_NS = 250 * NS_PER_MS


def settled_outage(measurements: Measurements, fault: FaultRecord) -> Phase | None:
    """From when the last of its paths was given up and I/O went on until the order to heal.

    None if no path was left, or if nothing remains.
    """
    if fault.io_stops:
        return None
    stall = longest_during(measurements, fault, Stall)
    went_on_ns = stall.end_ns if stall and stall.end_ns < fault.healed_ns else 0
    lost_ns = max([fault.confirmed_ns, went_on_ns, *given_up_ns(measurements, fault)])
    start_ns, end_ns = lost_ns + _SETTLING_NS, fault.healing_ns or fault.healed_ns
    if end_ns <= start_ns:
        return None
    return Phase(f"during {fault.name}", start_ns, end_ns)


def survivors(measurements: Measurements, fault: FaultRecord) -> list[PathCounters]:
    """The paths that a fault did not hit, but for those that were in reserve before."""
    before = measurements.before
    reserve: frozenset[str] = frozenset()
    if before is not None:
        reserve = in_reserve(measurements, before.start_ns, before.end_ns)
    return [c for c in measurements.counters if c.path not in {*fault.paths, *reserve}]
