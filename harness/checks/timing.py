"""How long I/O stood still, and whether it came back as fast as before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from harness.analysis.breakdown import Breakdown, breakdown
from harness.analysis.confidence import percentile_limits, ratio_of_means
from harness.analysis.recovery import stall_after, stall_cut_by, still_felt
from harness.analysis.stall import Stall, stall_resolution_ns, worst_stall
from harness.analysis.throughput import Spread, binned_rates, load, pace
from harness.budget import Budget
from harness.checks.judgement import Check, Finding, Verdict, unless_the_lab_did_it
from harness.measurements import FaultRecord, Measurements
from harness.timeline import Phase
from harness.units import MIB, NS_PER_MS, NS_PER_S, format_seconds

# Coarser than this the probe is blind. A healthy run is an order of magnitude finer.
_COARSEST_NS = 100 * NS_PER_MS
_MIN_BINS = 3
_MIN_PROBES = 20
# A healthy run on two cores shows a quarter, as guests also wait for their own I/O threads. With
# two testbeds there it was 55 to 70 %, and a third of all comparisons went wrong.
_MOST_STEAL = 0.6
# A failure needs a quieter host than a pass: 48 % after a fault made reads three times as slow.
_MOST_STEAL_TO_FAIL = 0.4
_TAIL = 90  # percentile
# What makes I/O stand still ends no earlier than this before it does.
_CAUSED_WITHIN_NS = NS_PER_S
_MAX_STALL = "max_stall"


@dataclass(frozen=True)
class _Limit:
    """How long a stall may be, after `spared_s` of it that do not count; `shown` explains it.

    `unlimited` says why `seconds` is infinite, and what to do about it.
    """

    name: str
    seconds: float
    shown: str
    spared_s: float = 0.0
    unlimited: str = ""

    def __str__(self) -> str:
        since = " after healing" if self.spared_s else ""
        return f"the {self.name} of {self.seconds:g} s{since}"

    def excess_s(self, stall: Stall) -> float:
        """By how much a stall is too long; negative if it is not."""
        return stall.seconds - self.spared_s - self.seconds


def stall_within_budget() -> Check:
    """No stall of any stream was longer than the effective settings allow.

    A stall that began while a fault was felt is held to that fault's budget. One that began
    before the first fault, or once a fault was healed and its paths were back, has the slack; and
    so has, of one that a fault found already there, the time until then. Unknown if a setting that
    is off leaves the budget without a limit: then no stall is too long, and none is proven short.
    """
    name = "stall within budget"

    def run(measurements: Measurements) -> Finding:
        faults = sorted(measurements.faults, key=lambda f: f.injected_ns)
        if not faults:
            return Finding(name, Verdict.UNKNOWN, "no fault was injected, so there is no budget")
        if measurements.errors_forced:
            return _never_went_on(name, measurements)
        findings = [_before(name, measurements, faults[0])]
        for fault in faults:
            cut = stall_cut_by(measurements, fault)
            if cut and (earlier := still_felt(measurements, fault, cut)):
                text = f"{fault.name} was injected before I/O went on after {earlier.name}"
                return Finding(name, Verdict.UNKNOWN, f"{text}: the stall is of both")
            if cut:
                when = f" when {fault.name} was injected"
                findings.append(_judge_stall(name, measurements, cut, _slack(fault), when=when))
            findings.append(_during(name, measurements, fault))
            if stall := stall_after(measurements, fault):
                when = f" after {fault.name}"
                findings.append(_judge_stall(name, measurements, stall, _slack(fault), when=when))
        # One by one: what excuses the first says nothing of the second.
        findings = [unless_the_lab_did_it(finding, measurements) for finding in findings]
        for verdict in (Verdict.FAIL, Verdict.UNKNOWN):
            for finding in findings:
                if finding.verdict is verdict:
                    return finding
        return max(findings[1:], key=lambda f: f.numbers["stall_s"])

    return Check(name, run, through_the_lab=True, by_completions=True)


def no_stall_beyond(seconds: float) -> Check:
    """No stream stood still for longer than that; for runs without a fault."""
    name = "no stall"

    def run(measurements: Measurements) -> Finding:
        if measurements.errors_forced:
            return _never_went_on(name, measurements)
        stall = worst_stall(measurements, start_ns=_begun_ns(measurements))
        return _judge_stall(
            name, measurements, stall, _Limit("limit", seconds, f"limit {seconds:g} s")
        )

    return Check(name, run, through_the_lab=True, by_completions=True)


def _never_went_on(name: str, measurements: Measurements) -> Finding:
    """I/O hung until its queueing was ended, long after its time was over."""
    text = "I/O stood still until it was made to fail: longer than any limit allows"
    return Finding(name, Verdict.FAIL, f"{text}; {measurements.cut_short}")


def _before(name: str, measurements: Measurements, first: FaultRecord) -> Finding:
    stall = worst_stall(measurements, start_ns=_begun_ns(measurements), end_ns=first.injected_ns)
    return _judge_stall(name, measurements, stall, _slack(first), when=" before any fault")


def _during(name: str, measurements: Measurements, fault: FaultRecord) -> Finding:
    limit = _Limit(
        "budget",
        fault.budget.seconds,
        f"budget {fault.budget}",
        unlimited=_why_unlimited(fault.budget),
    )
    parts = breakdown(measurements, fault)
    if parts is None:
        return _judge_stall(name, measurements, None, limit)
    outage_ns = fault.healing_confirmed_ns - parts.stall.start_ns if fault.io_stops else 0
    spared_ns = max(0, outage_ns)
    finding = _judge_stall(
        name,
        measurements,
        parts.stall,
        limit,
        when=f" in {fault.name}",
        because={
            limit.name: parts.culprit,
            _MAX_STALL: parts.longest_since(parts.stall.start_ns + spared_ns),
        },
        spared_s=spared_ns / NS_PER_S,
    )
    figures = {part.layer: str(part) for part in parts.outage}
    figures |= {f"recovery: {part.layer}": str(part) for part in parts.recovery}
    if parts.missing:
        figures["not seen in time"] = ", ".join(parts.missing)
    return replace(
        finding,
        figures={**finding.figures, **figures},
        numbers={**finding.numbers, **_part_numbers(parts)},
    )


def _why_unlimited(budget: Budget) -> str:
    """Which settings are off, what follows, and the cures; empty if none is."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for term in budget.unlimited:
        reasons.setdefault((term.why, term.cure), []).append(f"{term.name} ({term.source})")
    return "; ".join(
        f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} off: {why} (cure: {cure})"
        for (why, cure), names in reasons.items()
    )


def _part_numbers(parts: Breakdown) -> dict[str, float]:
    """Seconds of each part, as `detection_s`."""
    names = (part.layer.replace(",", "").replace(" ", "_") for part in parts.outage)
    return {f"{name}_s": part.seconds for name, part in zip(names, parts.outage, strict=True)}


def _slack(fault: FaultRecord) -> _Limit:
    seconds = sum(t.seconds for t in fault.budget.terms if t.name == "slack")
    return _Limit("slack", seconds, f"slack {seconds:g} s")


def _begun_ns(measurements: Measurements) -> int | None:
    return measurements.phases[0].start_ns if measurements.phases else None


def _judge_stall(
    name: str,
    measurements: Measurements,
    stall: Stall | None,
    limit: _Limit,
    *,
    when: str = "",
    because: Mapping[str, str] | None = None,
    spared_s: float = 0.0,
) -> Finding:
    """Hold a stall to its limit and to max_stall, which does not count the first `spared_s`.

    `when`, and `because` by the name of the limit, complete the sentence that says by how much
    it is too long.
    """
    resolution_ns = stall_resolution_ns(measurements)
    if stall is None or resolution_ns is None:
        return Finding(name, Verdict.UNKNOWN, "the probe measured too little to tell")
    limits = [limit]
    if (most_s := measurements.max_stall_s) is not None:
        limits.append(_Limit(_MAX_STALL, most_s, f"max_stall {most_s:g} s", spared_s))
    allowance = " and ".join(one.shown for one in limits)
    resolution_s = resolution_ns / NS_PER_S
    figures = {
        "stall": f"{stall.seconds:.3f} s ({stall.stream})",
        "allowed": allowance,
        "resolution": format_seconds(resolution_s),
    }
    numbers = {"stall_s": stall.seconds, "resolution_s": resolution_s}
    numbers |= {f"{one.name}_s": one.seconds for one in limits if isfinite(one.seconds)}
    if exceeded := [one for one in limits if one.excess_s(stall) > 0]:
        waited_s = _waited_s(measurements, stall.start_ns, stall.end_ns)
        proven = [one for one in exceeded if one.excess_s(stall) > waited_s]
        worst = (proven or exceeded)[0]
        text = (
            f"I/O stalled {stall.seconds:.2f} s ({stall.stream}){when}, "
            f"{format_seconds(worst.excess_s(stall))} beyond {worst}"
        )
        if because and because[worst.name]:
            text += f": {because[worst.name]}"
        if proven:
            span_ns = (stall.start_ns - _CAUSED_WITHIN_NS, stall.end_ns)
            return Finding(name, Verdict.FAIL, text, figures, numbers, span_ns)
        figures["of it without a processor"] = f"{waited_s:.3f} s"
        numbers["without_processor_s"] = waited_s
        return Finding(
            name,
            Verdict.UNKNOWN,
            f"{text}; but the host gave the machines no processor for {waited_s:.3f} s of it",
            figures,
            numbers,
        )
    if limit.unlimited:
        text = f"I/O stalled {stall.seconds:.2f} s ({stall.stream}){when}, and nothing limits it"
        return Finding(name, Verdict.UNKNOWN, f"{text}: {limit.unlimited}", figures, numbers)
    text = (
        f"longest stall {stall.seconds:.3f} s ({stall.stream}){when}, {allowance}, "
        f"resolution {format_seconds(resolution_s)}"
    )
    too_close = any(one.excess_s(stall) + resolution_s > 0 for one in limits)
    if resolution_ns > _COARSEST_NS or too_close:
        return Finding(name, Verdict.UNKNOWN, f"too coarse to tell: {text}", figures, numbers)
    return Finding(name, Verdict.PASS, text, figures, numbers)


def latency_recovered(at_most: float) -> Check:
    """A read after healing takes no longer than that many times what it took before the fault.

    At the 90th percentile of the probe: of two paths one may be slow, and half of the reads go
    there. Throughput does not tell, since a paced load runs on over the other path.
    """
    name = "latency recovered"

    def run(measurements: Measurements) -> Finding:
        before, after = measurements.phases[0], measurements.phases[-1]
        if before is after or measurements.probe is None:
            return Finding(name, Verdict.UNKNOWN, "there is no probe, or no phase after a fault")
        log = measurements.probe.completions
        latencies = [
            log.latency_ns[(log.at_ns >= phase.start_ns) & (log.at_ns <= phase.end_ns)].astype(
                float
            )
            for phase in (before, after)
        ]
        if any(len(some) < _MIN_PROBES for some in latencies):
            return Finding(name, Verdict.UNKNOWN, "the probe read too little to tell")
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
        if starved := _starved(
            measurements, before if recovered else after, figures, recovered=recovered
        ):
            return Finding(name, Verdict.UNKNOWN, f"{text}; {starved}", figures, numbers)
        least_s = percentile_limits(latencies[1], _TAIL).low / NS_PER_S
        most_s = percentile_limits(latencies[0], _TAIL).high / NS_PER_S
        if not recovered and least_s <= at_most * most_s:
            text += (
                f"; the reads are too few to tell: it may be {format_seconds(least_s)} after "
                f"{format_seconds(most_s)}"
            )
            return Finding(name, Verdict.UNKNOWN, text, figures, numbers)
        verdict = Verdict.PASS if recovered else Verdict.FAIL
        return Finding(name, verdict, text, figures, numbers)

    return Check(name, run, through_the_lab=True, by_completions=True)


def _starved(
    measurements: Measurements, phase: Phase, figures: dict[str, str], *, recovered: bool
) -> str:
    """Why a phase tells nothing of the storage, or nothing; its steal is noted in `figures`.

    A phase without processors looks slow: before the fault that may hide a loss, afterwards it
    may be taken for one.
    """
    if measurements.processors is None:
        return ""
    steal = measurements.processors.steal(phase.start_ns, phase.end_ns)
    figures[f"steal {phase.name}"] = f"{steal:.0%}"
    if steal <= (_MOST_STEAL if recovered else _MOST_STEAL_TO_FAIL):
        return ""
    return (
        f"but {phase.name} the fault the host kept {steal:.0%} of the processor time that the "
        "machines wanted: too busy to compare"
    )


def _waited_s(measurements: Measurements, start_ns: int, end_ns: int) -> float:
    """Seconds of a stretch of time for which the stall may be the host's: at most all of it."""
    if measurements.processors is None:
        return 0.0
    return measurements.processors.waited_between(start_ns, end_ns) / NS_PER_S


def throughput_recovered(at_least: float) -> Check:
    """The mean throughput after healing is that share of the one before the fault, or more.

    Of the load; the probe is there to measure latency. The mean, since a median hides a dip.
    Where the load was paced no more counts as before than its pace: fio makes up for a slow start
    by going faster for a while, as it does for an outage, so that afterwards it may be over 100 %.
    Unknown if the host was too busy to tell, or if the rates vary so much within their phases that
    the true share may be large enough.
    """
    name = "throughput recovered"

    def run(measurements: Measurements) -> Finding:
        before, after = measurements.phases[0], measurements.phases[-1]
        if before is after:
            return Finding(name, Verdict.UNKNOWN, "there is no phase after a fault")
        streams = load(measurements.streams)
        rates = [binned_rates(streams, phase) for phase in (before, after)]
        if any(len(rate) < _MIN_BINS for rate in rates):
            return Finding(
                name,
                Verdict.UNKNOWN,
                f"phases of {before.seconds:.1f} s and {after.seconds:.1f} s are too short",
            )
        measured, became = (float(np.mean(rate)) for rate in rates)
        was = min(measured, pace(streams))
        if was == 0:
            return Finding(name, Verdict.UNKNOWN, "nothing was carried before the fault")
        share = became / was
        limits = ratio_of_means(rates[0] * (was / measured), rates[1])
        figures = {
            phase.name: str(Spread.of(rate))
            for phase, rate in zip((before, after), rates, strict=True)
        }
        numbers = {"before_mib_s": was / MIB, "after_mib_s": became / MIB, "least_share": at_least}
        figures["share, with 99 % confidence"] = str(limits)
        text = f"{share:.1%} of the throughput before the fault, at least {at_least:.0%} wanted"
        recovered = share >= at_least
        if starved := _starved(
            measurements, before if recovered else after, figures, recovered=recovered
        ):
            return Finding(name, Verdict.UNKNOWN, f"{text}; {starved}", figures, numbers)
        if not recovered and limits.high >= at_least:
            text += f"; the rates vary too much to tell: it may be {limits}"
            return Finding(name, Verdict.UNKNOWN, text, figures, numbers)
        verdict = Verdict.PASS if recovered else Verdict.FAIL
        return Finding(name, verdict, text, figures, numbers)

    return Check(name, run, through_the_lab=True, by_completions=True)
