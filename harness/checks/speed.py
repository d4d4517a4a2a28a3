"""Whether I/O is as fast as before, during a fault and once all faults are healed."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from harness.analysis.confidence import Samples, percentile_limits, ratio_of_means
from harness.analysis.throughput import Rates, Spread, binned_rates, credited, load, pace
from harness.checks.definition import check
from harness.checks.excuses import disturbed, starved
from harness.checks.outcome import Outcome, failed, passed, unknown
from harness.measurements import Measurements, Stream
from harness.timeline import Phase
from harness.units import KIB, MIB, NS_PER_MS, NS_PER_S, format_seconds

_MIN_BINS = 3
_MIN_PROBES = 20
_LEAST_LOSS = 64 * KIB  # bytes a second: less is no loss, whatever share it is


@dataclass(frozen=True)
class Compared:
    """What throughput is compared with, and what to call it in a figure besides its phase."""

    text: str
    label: str = ""


WHOLE_LOAD = Compared("the throughput before the fault")


@dataclass(frozen=True)
class _Tail:
    """A percentile that is compared; a read may take `floor_ns` longer, whatever share that is.

    60 us and 200 us are the same to whoever waits. The slowest of a hundred reads on an emulated
    machine took up to 66 ms more without a cause (docs/decisions.md).
    """

    percent: int
    floor_ns: int

    def most_ns(self, was_ns: float, at_most: float) -> float:
        """How long a read may take that took `was_ns`."""
        return max(at_most * was_ns, was_ns + self.floor_ns)


_TAILS = (_Tail(90, 2 * NS_PER_MS), _Tail(99, 100 * NS_PER_MS))


@check("latency recovered", through_the_lab=True, by_completions=True)
def latency_recovered(measurements: Measurements, at_most: float) -> Outcome:
    """A read after healing takes no longer than that many times what it took before the fault.

    At the 90th and the 99th percentile of the probe: of two paths one may be slow, and half of the
    reads go there. Throughput does not tell, since a paced load runs on over the other path.
    """
    before, after = measurements.before, measurements.phases[-1]
    if before is None or before is after or measurements.probe is None:
        return unknown("there is no probe, or no phase after a fault")
    return compare_latency(measurements, measurements.probe, before, after, at_most)


def compare_latency(
    measurements: Measurements, probe: Stream, before: Phase, after: Phase, at_most: float
) -> Outcome:
    """Whether reads of the probe took at most so many times as long, at every percentile.

    Fails on proof only: by the confidence limits of both, on a host that was as quiet as before.
    """
    was, became = (_latencies(probe, phase) for phase in (before, after))
    if min(len(was), len(became)) < _MIN_PROBES:
        return unknown("the probe read too little to tell")
    figures: dict[str, str] = {}
    numbers: dict[str, float] = {"most_times": at_most}
    for phase, key, some in ((before, "before", was), (after, "after", became)):
        tails = {f"p{tail.percent}": float(np.percentile(some, tail.percent)) for tail in _TAILS}
        for name, taken_ns in (*tails.items(), ("longest", float(some.max()))):
            figures[f"{name} {phase.name}"] = format_seconds(taken_ns / NS_PER_S)
            numbers[f"{key}_{name}_s"] = taken_ns / NS_PER_S
    numbers |= {"before_s": numbers["before_p90_s"], "after_s": numbers["after_p90_s"]}
    ratios = {
        tail: float(np.percentile(became, tail.percent) / np.percentile(was, tail.percent))
        for tail in _TAILS
    }
    slower = [
        tail
        for tail in _TAILS
        if np.percentile(became, tail.percent)
        > tail.most_ns(float(np.percentile(was, tail.percent)), at_most)
    ]
    proven = [tail for tail in slower if _proven(tail, was, became, at_most)]
    told = (proven or slower or list(_TAILS))[0]
    text = (
        f"{ratios[told]:.1f} times the latency before the fault "
        f"(p{told.percent} of the probe), at most {at_most:g} wanted"
    )
    if not slower:
        lean = starved(measurements, before, figures, recovered=True)
        return _unless(lean, passed(text, figures, numbers))
    lean = disturbed(measurements, before, after, figures)
    if not lean and not proven:
        least_s = percentile_limits(became, told.percent).low / NS_PER_S
        most_s = percentile_limits(was, told.percent).high / NS_PER_S
        most = format_seconds(most_s) if isfinite(most_s) else "any time"
        lean = f"the reads are too few to tell: it may be {format_seconds(least_s)} after {most}"
    return _unless(lean, failed(text, figures, numbers))


def _latencies(probe: Stream, phase: Phase) -> Samples:
    log = probe.completions
    inside = (log.at_ns >= phase.start_ns) & (log.at_ns <= phase.end_ns)
    return log.latency_ns[inside].astype(float)


def _proven(tail: _Tail, was: Samples, became: Samples, at_most: float) -> bool:
    """Whether reads are surely too slow, by the confidence limits of the percentile."""
    most_ns = tail.most_ns(percentile_limits(was, tail.percent).high, at_most)
    return percentile_limits(became, tail.percent).low > most_ns


@check("throughput recovered", through_the_lab=True, by_completions=True)
def throughput_recovered(measurements: Measurements, at_least: float) -> Outcome:
    """The mean throughput after healing is that share of the one before the fault, or more.

    Of the load; the probe is there to measure latency. The mean, since a median hides a dip.
    Where the load was paced no more counts than its pace, before and after: fio makes up for a slow
    start, as for an outage, by going faster for a while, and that is not what the paths deliver.
    Unknown if the host was too busy to tell, or if the rates vary so much within their phases that
    the true share may be large enough.
    """
    before, after = measurements.before, measurements.phases[-1]
    if before is None or before is after:
        return unknown("there is no phase after a fault")
    streams = load(measurements.streams)
    rates = [credited(binned_rates(streams, phase), pace(streams)) for phase in (before, after)]
    return compare_rates(measurements, before, after, rates[0], rates[1], at_least)


def compare_rates(
    measurements: Measurements,
    before: Phase,
    after: Phase,
    was: Rates,
    became: Rates,
    at_least: float,
    *,
    compared: Compared = WHOLE_LOAD,
) -> Outcome:
    """Whether the mean of the rates is that share of what it was; fails on proof only."""
    if min(len(was), len(became)) < _MIN_BINS or not was.any():
        lasted = f"phases of {before.seconds:.1f} s and {after.seconds:.1f} s are too short"
        short = min(len(was), len(became)) < _MIN_BINS
        return unknown(lasted if short else "nothing was carried before the fault")
    before_mean, after_mean = float(np.mean(was)), float(np.mean(became))
    share = after_mean / before_mean
    limits = ratio_of_means(was, became)
    figures = {
        f"{before.name}{compared.label}": str(Spread.of(was)),
        after.name: str(Spread.of(became)),
    }
    numbers = {
        "before_mib_s": before_mean / MIB,
        "after_mib_s": after_mean / MIB,
        "least_share": at_least,
    }
    figures["share, with 99 % confidence"] = str(limits)
    text = f"{share:.1%} of {compared.text}, at least {at_least:.0%} wanted"
    if share >= at_least or at_least * before_mean - after_mean < _LEAST_LOSS:
        lean = starved(measurements, before, figures, recovered=True)
        return _unless(lean, passed(text, figures, numbers))
    lean = disturbed(measurements, before, after, figures)
    if not lean and limits.high >= at_least:
        lean = f"the rates vary too much to tell: it may be {limits}"
    return _unless(lean, failed(text, figures, numbers))


def _unless(doubt: str, judged: Outcome) -> Outcome:
    """The outcome, or unknown if there is a doubt."""
    if not doubt:
        return judged
    return unknown(f"{judged.message}; {doubt}", judged.figures, judged.numbers)
