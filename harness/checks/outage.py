"""What the surviving paths deliver while others are dead, against what they did before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.analysis.outage import caught_up_ns, settled_outage, survivors
from harness.analysis.throughput import Rates, binned_rates, credited, load, pace
from harness.checks.definition import check
from harness.checks.outcome import Outcome, Verdict, first_bad_or_all, passed, unknown
from harness.checks.speed import Compared, compare_latency, compare_rates
from harness.measurements import FaultRecord, Measurements, PathCounters
from harness.timeline import Phase
from harness.units import NS_PER_S

_SURVIVORS = Compared(
    "what the surviving paths carried before the fault", ", over the surviving paths"
)
_SHORTEST_NS = 3 * NS_PER_S // 2  # three bins of throughput


@check("throughput held", through_the_lab=True, by_completions=True, by_samples=True)
def throughput_held(measurements: Measurements, at_least: float) -> Outcome:
    """While paths are dead the others carry that share of what they carried before, or more.

    Once I/O has gone on. The load is compared with the part of it that the surviving paths had by
    their byte counters: they need not take over the rest, but they must not suffer from what the
    others lost. Those in reserve before are not compared. If no others are left, all of the load
    is, and less than that share is unknown.
    """

    def held(fault: FaultRecord, before: Phase, during: Phase) -> Outcome:
        paths = survivors(measurements, fault)
        if not paths:
            if all(counters.path in fault.paths for counters in measurements.counters):
                return unknown("no byte counters of a path that was left")
            return _held_by_reserve(measurements, before, during, at_least)
        share = _share_of(paths, measurements.counters, before)
        if share is None:
            return unknown(f"it is not known what each path carried in phase {before.name!r}")
        was, became = share * _load(measurements, before), _load(measurements, during)
        return compare_rates(
            measurements, before, during, was, became, at_least, compared=_SURVIVORS
        )

    return _each(measurements, held)


def _share_of(
    paths: Sequence[PathCounters], every: Sequence[PathCounters], phase: Phase
) -> float | None:
    """The part of the load that these paths had of all; None if that is not known."""
    carried = {one.path: one.load_between(phase.start_ns, phase.end_ns) for one in every}
    known = {path: count for path, count in carried.items() if count is not None}
    if len(known) < len(carried) or not sum(known.values()):
        return None
    return sum(known[one.path] for one in paths) / sum(known.values())


def _load(measurements: Measurements, phase: Phase) -> Rates:
    """The rates of the load in a phase, without what made up for the time before."""
    streams = load(measurements.streams)
    return credited(binned_rates(streams, phase), pace(streams))


def _held_by_reserve(
    measurements: Measurements, before: Phase, during: Phase, at_least: float
) -> Outcome:
    """Whether paths that carried nothing before carry the load of those that were lost.

    They may be slower by the target's own account (ALUA: non-optimized), so less proves nothing.
    """
    was, became = _load(measurements, before), _load(measurements, during)
    outcome = compare_rates(measurements, before, during, was, became, at_least)
    text = f"the paths that were left had been in reserve; {outcome.message}"
    if outcome.verdict is Verdict.FAIL:
        reason = f"{text}; a path in reserve may be slower than one in use"
        return unknown(reason, outcome.figures, outcome.numbers)
    return replace(outcome, message=text)


@check("latency held", through_the_lab=True, by_completions=True)
def latency_held(measurements: Measurements, at_most: float) -> Outcome:
    """While paths are dead a read takes at most that many times what it took before.

    Once I/O has gone on, and has made up for the stall where it is paced: that is more load than
    before. A pass with that load is one without it; a failure is none. At the same percentiles of
    the probe as *latency recovered*.
    """
    if (probe := measurements.probe) is None:
        return unknown("there is no probe")

    def held(_: FaultRecord, before: Phase, during: Phase) -> Outcome:
        since_ns = caught_up_ns(measurements, before, during)
        if since_ns is not None and during.end_ns - since_ns >= _SHORTEST_NS:
            calm = replace(during, start_ns=since_ns)
            return compare_latency(measurements, probe, before, calm, at_most)
        outcome = compare_latency(measurements, probe, before, during, at_most)
        if outcome.verdict is Verdict.PASS:
            return outcome
        text = f"{outcome.message}; but I/O was still catching up with its pace"
        if since_ns is not None:
            text += f" until {(during.end_ns - since_ns) / NS_PER_S:.1f} s before healing"
        return unknown(text, outcome.figures, outcome.numbers)

    return _each(measurements, held)


def _each(
    measurements: Measurements, held: Callable[[FaultRecord, Phase, Phase], Outcome]
) -> Outcome:
    """The worst outcome of all faults, each with its name.

    One that left no path has none, nor one that holds I/O; nor has one under which a path may go
    on, but worse: the map sends I/O over it all the same, and the load waits for that.
    """
    before = measurements.before
    if before is None or not measurements.faults:
        return unknown("no fault was injected after a phase to compare with")
    outcomes: list[Outcome] = []
    for fault in measurements.faults:
        if fault.io_stops or (fault.limping and not fault.felt_at_healing):
            continue
        during = settled_outage(measurements, fault)
        if during is None or during.end_ns - during.start_ns < _SHORTEST_NS:
            outcomes.append(_too_short(fault, during))
            continue
        outcome = held(fault, before, during)
        outcomes.append(replace(outcome, message=f"{fault.name}: {outcome.message}"))
    if not outcomes and any(fault.limping for fault in measurements.faults):
        return passed("a path went on, but worse, so there is nothing to compare")
    if not outcomes:
        return passed("I/O had to wait until healing, so there is nothing to compare")
    return first_bad_or_all(outcomes)


def _too_short(fault: FaultRecord, during: Phase | None) -> Outcome:
    lasted = f"only {during.seconds:.1f} s" if during else "nothing"
    return unknown(f"{fault.name}: {lasted} between the loss of its paths and healing")
