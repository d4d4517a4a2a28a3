"""How long I/O stood still, and whether it came back as fast as before."""

from __future__ import annotations

import numpy as np

from harness.checks.judgement import Check, Finding, Verdict
from harness.measurements import Measurements
from harness.stall import worst_stall
from harness.throughput import Spread, binned_rates, load
from harness.timeline import Phase
from harness.units import NS_PER_MS, NS_PER_S, format_seconds

# Coarser than this the probe is blind. A healthy run is an order of magnitude finer.
_COARSEST_NS = 100 * NS_PER_MS
_MIN_BINS = 3
_MIN_PROBES = 20
# A healthy run on two cores shows a quarter, as guests also wait for their own I/O threads. With
# two testbeds there it was 55 to 70 %, and a third of all comparisons went wrong.
_MOST_STEAL = 0.6
_TAIL = 90  # percentile


def stall_within_budget() -> Check:
    """No stall of any stream was longer than the effective settings allow.

    Each fault has its own budget, from its injection to that of the next; before the first
    one the limit is its slack.
    """
    name = "stall within budget"

    def run(measurements: Measurements) -> Finding:
        faults = sorted(measurements.faults, key=lambda f: f.injected_ns)
        if not faults:
            return Finding(name, Verdict.UNKNOWN, "no fault was injected, so there is no budget")
        slack_s = sum(t.seconds for t in faults[0].budget.terms if t.name == "slack")
        findings = [
            _judge_stall(
                name,
                measurements,
                slack_s,
                f"before any fault, limit {slack_s:g} s",
                end_ns=faults[0].injected_ns,
            )
        ]
        ends = [*(f.injected_ns for f in faults[1:]), None]
        for fault, end_ns in zip(faults, ends, strict=True):
            budget = fault.budget
            findings.append(
                _judge_stall(
                    name,
                    measurements,
                    budget.seconds,
                    f"budget {budget}",
                    start_ns=fault.injected_ns,
                    end_ns=end_ns,
                )
            )
        for verdict in (Verdict.FAIL, Verdict.UNKNOWN):
            for finding in findings:
                if finding.verdict is verdict:
                    return finding
        return max(findings[1:], key=lambda f: float(f.figures["stall"].split()[0]))

    return Check(name, run)


def no_stall_beyond(seconds: float) -> Check:
    """No stream stood still for longer than that; for runs without a fault."""
    name = "no stall"
    return Check(
        name, lambda measurements: _judge_stall(name, measurements, seconds, f"limit {seconds:g} s")
    )


def _judge_stall(
    name: str,
    measurements: Measurements,
    allowed_s: float,
    allowance: str,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> Finding:
    begun_ns = measurements.phases[0].start_ns if measurements.phases else None
    stall = worst_stall(
        measurements, start_ns=begun_ns if start_ns is None else start_ns, end_ns=end_ns
    )
    resolution_ns = _resolution_ns(measurements)
    if stall is None or resolution_ns is None:
        return Finding(name, Verdict.UNKNOWN, "the probe measured too little to tell")
    resolution_s = resolution_ns / NS_PER_S
    figures = {
        "stall": f"{stall.seconds:.3f} s ({stall.stream})",
        "allowed": allowance,
        "resolution": format_seconds(resolution_s),
    }
    text = (
        f"longest stall {stall.seconds:.3f} s ({stall.stream}), {allowance}, "
        f"resolution {format_seconds(resolution_s)}"
    )
    if stall.seconds > allowed_s:
        waited_s = _waited_s(measurements, stall.start_ns, stall.end_ns)
        if stall.seconds - waited_s > allowed_s:
            return Finding(name, Verdict.FAIL, text, figures)
        figures["of it without a processor"] = f"{waited_s:.3f} s"
        return Finding(
            name,
            Verdict.UNKNOWN,
            f"{text}; but the host gave the machines no processor for {waited_s:.3f} s of it",
            figures,
        )
    if resolution_ns > _COARSEST_NS or stall.seconds + resolution_s > allowed_s:
        return Finding(name, Verdict.UNKNOWN, f"too coarse to tell: {text}", figures)
    return Finding(name, Verdict.PASS, text, figures)


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
            log.latency_ns[(log.at_ns >= phase.start_ns) & (log.at_ns <= phase.end_ns)]
            for phase in (before, after)
        ]
        if any(len(some) < _MIN_PROBES for some in latencies):
            return Finding(name, Verdict.UNKNOWN, "the probe read too little to tell")
        was_s, became_s = (float(np.percentile(some, _TAIL)) / NS_PER_S for some in latencies)
        figures = {
            f"p{_TAIL} {phase.name}": format_seconds(seconds)
            for phase, seconds in ((before, was_s), (after, became_s))
        }
        text = (
            f"{became_s / was_s:.1f} times the latency before the fault "
            f"(p{_TAIL} of the probe), at most {at_most:g} wanted"
        )
        recovered = became_s <= at_most * was_s
        if starved := _starved(measurements, before if recovered else after, figures):
            return Finding(name, Verdict.UNKNOWN, f"{text}; {starved}", figures)
        verdict = Verdict.PASS if recovered else Verdict.FAIL
        return Finding(name, verdict, text, figures)

    return Check(name, run)


def _starved(measurements: Measurements, phase: Phase, figures: dict[str, str]) -> str:
    """Why a phase tells nothing of the storage, or nothing; its steal is noted in `figures`.

    A phase without processors looks slow: before the fault that may hide a loss, afterwards it
    may be taken for one.
    """
    if measurements.processors is None:
        return ""
    steal = measurements.processors.steal(phase.start_ns, phase.end_ns)
    figures[f"steal {phase.name}"] = f"{steal:.0%}"
    if steal <= _MOST_STEAL:
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


def _resolution_ns(measurements: Measurements) -> int | None:
    """How finely a stall is seen: the probe's median interval before any fault.

    A stall between two probes of that distance could begin unseen; fio's log has a grain, too.
    """
    probe, before = measurements.probe, measurements.phases[0]
    if probe is None:
        return None
    log = probe.completions
    inside = (log.at_ns >= before.start_ns) & (log.at_ns <= before.end_ns)
    submitted = np.sort((log.at_ns - log.latency_ns)[inside])
    if len(submitted) < _MIN_PROBES:
        return None
    return max(int(np.median(np.diff(submitted))), log.resolution_ns)


def throughput_recovered(at_least: float) -> Check:
    """The mean throughput after healing is that share of the one before the fault, or more.

    Of the load; the probe is there to measure latency. The mean, since a median hides a dip.
    Unknown if the host was too busy to tell.
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
        was, became = (float(np.mean(rate)) for rate in rates)
        if was == 0:
            return Finding(name, Verdict.UNKNOWN, "nothing was carried before the fault")
        share = became / was
        figures = {
            phase.name: str(Spread.of(rate))
            for phase, rate in zip((before, after), rates, strict=True)
        }
        text = f"{share:.1%} of the throughput before the fault, at least {at_least:.0%} wanted"
        recovered = share >= at_least
        if starved := _starved(measurements, before if recovered else after, figures):
            return Finding(name, Verdict.UNKNOWN, f"{text}; {starved}", figures)
        verdict = Verdict.PASS if recovered else Verdict.FAIL
        return Finding(name, verdict, text, figures)

    return Check(name, run)
