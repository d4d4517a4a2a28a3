"""What the paths carried while a fault lasted, and whether it took effect; pure."""

from __future__ import annotations

from harness.analysis.recovery import paths_hit
from harness.measurements import FaultRecord, Measurements, PathCounters
from harness.timeline import Happened
from harness.units import NS_PER_MS, format_size

# I/O that was already on the wire may still complete while the order to break is carried out.
_GRACE_NS = 250 * NS_PER_MS


def without_effect(measurements: Measurements, fault: FaultRecord) -> str:
    """A sentence that names a path that carried I/O though a fault should hit it; else empty.

    One that was in reserve, and carried nothing anyway, must be seen to fail.
    """
    reserve = in_reserve(measurements, fault.injected_ns, fault.confirmed_ns)
    for counters in paths_hit(measurements, fault):
        if counters.path in reserve and not _failed_during(measurements, fault, counters.path):
            return f"{counters} was in reserve, and not seen to fail during {fault.name}"
        if carried := carried_during(measurements, fault, counters):
            return (
                f"{counters} still carried {format_size(carried)} during {fault.name}: "
                "no effect, or not for all of that time"
            )
    return ""


def carried_during(
    measurements: Measurements, fault: FaultRecord, counters: PathCounters
) -> int | None:
    """Bytes that a path carried during a fault; None if no counters were sampled then.

    Until the order to heal: it takes effect before it returns.
    Not in the moments in which the kernel gives the path up: what was stuck on it is failed then,
    and the block layer counts that as carried (blk_account_io_completion in block/blk-mq.c).
    """
    start_ns, end_ns = fault.confirmed_ns + _GRACE_NS, fault.ordered_ns
    given_up = [
        e.at_ns
        for e in measurements.timeline
        if e.what is Happened.PATH_FAILED
        and e.path == counters.path
        and start_ns - _GRACE_NS <= e.at_ns <= end_ns + _GRACE_NS
    ]
    begins = [start_ns, *(at_ns + _GRACE_NS for at_ns in given_up)]
    ends = [*(at_ns - _GRACE_NS for at_ns in given_up), end_ns]
    parts = [counters.between(*stretch) for stretch in zip(begins, ends, strict=True)]
    seen = [part for part in parts if part is not None]
    return sum(seen) if seen else None


def in_reserve(measurements: Measurements, start_ns: int, end_ns: int) -> frozenset[str]:
    """Paths of groups that were not in use in all of a stretch of time, by all samples of it.

    But for samples without a group in use, as of a map that was just loaded: they tell nothing.
    """
    seen = [
        look.reserve
        for look in measurements.path_states
        if start_ns <= look.at_ns <= end_ns and look.reserve is not None
    ]
    return frozenset.intersection(*seen) if seen else frozenset()


def _failed_during(measurements: Measurements, fault: FaultRecord, path: str) -> bool:
    return any(
        seen.states.get(path) == "failed"
        for seen in measurements.path_states
        if fault.injected_ns <= seen.at_ns <= fault.healing_confirmed_ns
    )
