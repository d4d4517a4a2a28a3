"""The part of a fault in which I/O goes on over the surviving paths; pure."""

from __future__ import annotations

import numpy as np

from harness.analysis.fault_effect import in_reserve
from harness.analysis.fault_waits import lost_ns, went_on_ns
from harness.measurements import FaultRecord, Measurements, PathCounters
from harness.timeline import Phase
from harness.units import NS_PER_MS, NS_PER_S

# What waited is sent over the surviving paths at once, and is not what they deliver.
_SETTLING_NS = 250 * NS_PER_MS
# What a stream may be behind its pace, besides what it was before the fault.
_NEARLY_NS = 100 * NS_PER_MS
# Of the pace: a stream that had less before the fault had all its depth outstanding then, too.
_KEPT_SHARE = 0.95


def settled_outage(measurements: Measurements, fault: FaultRecord) -> Phase | None:
    """From when the last of its paths was given up and I/O went on until the order to heal.

    Of a fault that hits other initiators alone, or nothing until it is healed, it is all of that
    time: a pause, wherever it is, is none that I/O has to go on after. None if no path was left, or
    if nothing remains.
    """
    if fault.io_stops:
        return None
    end_ns = fault.ordered_ns
    felt = fault.paths and not fault.felt_at_healing
    went_ns = went_on_ns(measurements, fault) if felt else None
    if went_ns is None or went_ns >= end_ns:  # None: no I/O waited. Later: it stood still all along
        went_ns = fault.confirmed_ns
    lost = lost_ns(measurements, fault) if felt else []
    settled_ns = max([fault.confirmed_ns, went_ns, *lost])
    start_ns = settled_ns + _SETTLING_NS
    if end_ns <= start_ns:
        return None
    return Phase(f"during {fault.name}", start_ns, end_ns)


def caught_up_ns(measurements: Measurements, before: Phase, during: Phase) -> int | None:
    """When each stream that kept its pace before a fault had made up for the stall, in `during`.

    Until then fio has its whole depth outstanding, and every I/O takes longer for that. A stream
    has caught up once it is no further behind than it was at some time before. None if one never
    has. Streams without a pace have nothing to make up for.
    """
    times_ns = [during.start_ns]
    for stream in measurements.streams:
        if stream.pace is None:
            continue
        order = np.argsort(stream.completions.at_ns, kind="stable")
        at_ns, done = stream.completions.at_ns[order], stream.completions.size[order].cumsum()
        was = (at_ns >= before.start_ns) & (at_ns <= before.end_ns)
        carried = float(stream.completions.size[order][was].sum())
        rate = min(stream.pace, carried * NS_PER_S / (before.end_ns - before.start_ns))
        if rate < _KEPT_SHARE * stream.pace:
            continue
        behind = rate * ((at_ns - before.start_ns) / NS_PER_S) - done
        usual = float(behind[was].max()) + rate * _NEARLY_NS / NS_PER_S
        inside = (at_ns >= during.start_ns) & (at_ns <= during.end_ns)
        caught_up = at_ns[inside & (behind <= usual)]
        if not len(caught_up):
            return None
        times_ns.append(int(caught_up[0]))
    return max(times_ns)


def survivors(measurements: Measurements, fault: FaultRecord) -> list[PathCounters]:
    """The paths that a fault did not hit, but for those that were in reserve before."""
    before = measurements.before
    reserve: frozenset[str] = frozenset()
    if before is not None:
        reserve = in_reserve(measurements, before.start_ns, before.end_ns)
    hit = () if fault.felt_at_healing else fault.paths
    return [c for c in measurements.counters if c.path not in {*hit, *reserve}]
