"""Whether I/O is as fast as before once the faults are healed."""

from __future__ import annotations

import numpy as np

from harness.analysis.confidence import percentile_limits, ratio_of_means
from harness.analysis.throughput import Spread, binned_rates, load, pace
from harness.checks.definition import check
from harness.checks.excuses import starved
from harness.checks.outcome import Outcome, failed, passed, unknown
from harness.measurements import Measurements
from harness.units import MIB, NS_PER_S, format_seconds

_MIN_BINS = 3
_MIN_PROBES = 20
_TAIL = 90  # percentile


@check("latency recovered", through_the_lab=True, by_completions=True)
def latency_recovered(measurements: Measurements, at_most: float) -> Outcome:
    """A read after healing takes no longer than that many times what it took before the fault.

    At the 90th percentile of the probe: of two paths one may be slow, and half of the reads go
    there. Throughput does not tell, since a paced load runs on over the other path.
    """
    before, after = measurements.phases[0], measurements.phases[-1]
    if before is after or measurements.probe is None:
        return unknown("there is no probe, or no phase after a fault")
    log = measurements.probe.completions
    latencies = [
        log.latency_ns[(log.at_ns >= phase.start_ns) & (log.at_ns <= phase.end_ns)].astype(float)
        for phase in (before, after)
    ]
    if any(len(some) < _MIN_PROBES for some in latencies):
        return unknown("the probe read too little to tell")
    was_s, became_s = (float(np.percentile(some, _TAIL)) / NS_PER_S for some in latencies)
    figures = {
        f"p{_TAIL} {phase.name}": format_seconds(seconds)
        for phase, seconds in ((before, was_s), (after, became_s))
    }
    numbers = {"before_s": was_s, "after_s": became_s, "most_times": at_most}
    text = (
        f"{became_s / was_s:.1f} times the latency before the fault "
        f"(p{_TAIL} of the probe), at most {at_most:g} wanted"
    )
    recovered = became_s <= at_most * was_s
    if lean := starved(measurements, before if recovered else after, figures, recovered=recovered):
        return unknown(f"{text}; {lean}", figures, numbers)
    least_s = percentile_limits(latencies[1], _TAIL).low / NS_PER_S
    most_s = percentile_limits(latencies[0], _TAIL).high / NS_PER_S
    if not recovered and least_s <= at_most * most_s:
        text += (
            f"; the reads are too few to tell: it may be {format_seconds(least_s)} after "
            f"{format_seconds(most_s)}"
        )
        return unknown(text, figures, numbers)
    judged = passed if recovered else failed
    return judged(text, figures, numbers)


@check("throughput recovered", through_the_lab=True, by_completions=True)
def throughput_recovered(measurements: Measurements, at_least: float) -> Outcome:
    """The mean throughput after healing is that share of the one before the fault, or more.

    Of the load; the probe is there to measure latency. The mean, since a median hides a dip.
    Where the load was paced no more counts as before than its pace: fio makes up for a slow start
    by going faster for a while, as it does for an outage, so that afterwards it may be over 100 %.
    Unknown if the host was too busy to tell, or if the rates vary so much within their phases that
    the true share may be large enough.
    """
    before, after = measurements.phases[0], measurements.phases[-1]
    if before is after:
        return unknown("there is no phase after a fault")
    streams = load(measurements.streams)
    rates = [binned_rates(streams, phase) for phase in (before, after)]
    if any(len(rate) < _MIN_BINS for rate in rates):
        return unknown(
            f"phases of {before.seconds:.1f} s and {after.seconds:.1f} s are too short",
        )
    measured, became = (float(np.mean(rate)) for rate in rates)
    was = min(measured, pace(streams))
    if was == 0:
        return unknown("nothing was carried before the fault")
    share = became / was
    limits = ratio_of_means(rates[0] * (was / measured), rates[1])
    figures = {
        phase.name: str(Spread.of(rate)) for phase, rate in zip((before, after), rates, strict=True)
    }
    numbers = {"before_mib_s": was / MIB, "after_mib_s": became / MIB, "least_share": at_least}
    figures["share, with 99 % confidence"] = str(limits)
    text = f"{share:.1%} of the throughput before the fault, at least {at_least:.0%} wanted"
    recovered = share >= at_least
    if lean := starved(measurements, before if recovered else after, figures, recovered=recovered):
        return unknown(f"{text}; {lean}", figures, numbers)
    if not recovered and limits.high >= at_least:
        text += f"; the rates vary too much to tell: it may be {limits}"
        return unknown(text, figures, numbers)
    judged = passed if recovered else failed
    return judged(text, figures, numbers)
