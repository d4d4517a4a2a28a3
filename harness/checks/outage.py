"""What the surviving paths deliver while others are dead, against what they did before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.analysis.outage import settled_outage, survivors
from harness.analysis.throughput import carried_rates, credited, load, pace
from harness.checks.definition import check
from harness.checks.outcome import Outcome, first_bad, passed, unknown
from harness.checks.speed import compare_latency, compare_rates
from harness.measurements import FaultRecord, Measurements
from harness.timeline import Phase
from harness.units import NS_PER_S

_SHORTEST_NS = 3 * NS_PER_S // 2  # three bins of throughput


@check("throughput held", through_the_lab=True, by_completions=True, by_samples=True)
def throughput_held(measurements: Measurements, at_least: float) -> Outcome:
    """While paths are dead the others carry that share of what they carried before, or more.

    By the byte counters of the surviving paths, once I/O has gone on. They need not take over all
    of the load, but they must not suffer from what the others lost. Those in reserve before are not
    compared: *fault took effect* wants them to carry something.
    """

    def held(fault: FaultRecord, before: Phase, during: Phase) -> Outcome:
        paths = survivors(measurements, fault)
        if not paths:
            text = f"{fault.name}: the paths that were left had been in reserve"
            return passed(f"{text}, so there is nothing to compare")
        most = pace(load(measurements.streams))
        was, became = (credited(carried_rates(paths, one), most) for one in (before, during))
        return compare_rates(measurements, before, during, was, became, at_least)

    return _each(measurements, held)


@check("latency held", through_the_lab=True, by_completions=True)
def latency_held(measurements: Measurements, at_most: float) -> Outcome:
    """While paths are dead a read takes at most that many times what it took before.

    Once I/O has gone on, at the same percentiles of the probe as *latency recovered*.
    """
    if (probe := measurements.probe) is None:
        return unknown("there is no probe")

    def held(_: FaultRecord, before: Phase, during: Phase) -> Outcome:
        return compare_latency(measurements, probe, before, during, at_most)

    return _each(measurements, held)


def _each(
    measurements: Measurements, held: Callable[[FaultRecord, Phase, Phase], Outcome]
) -> Outcome:
    """The worst outcome of all faults, each with its name; those that left no path have none."""
    before = measurements.before
    if before is None or not measurements.faults:
        return unknown("no fault was injected after a phase to compare with")
    outcomes: list[Outcome] = []
    for fault in measurements.faults:
        if fault.io_stops:
            continue
        during = settled_outage(measurements, fault)
        if during is None or during.end_ns - during.start_ns < _SHORTEST_NS:
            outcomes.append(_too_short(fault, during))
            continue
        outcome = held(fault, before, during)
        outcomes.append(replace(outcome, message=f"{fault.name}: {outcome.message}"))
    return first_bad(outcomes) or _together(outcomes)


def _too_short(fault: FaultRecord, during: Phase | None) -> Outcome:
    lasted = f"only {during.seconds:.1f} s" if during else "nothing"
    return unknown(f"{fault.name}: {lasted} between the loss of its paths and healing")


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    if not outcomes:
        return passed("no path was left, so there is nothing to compare")
    return replace(outcomes[-1], message="; ".join(one.message for one in outcomes))
