"""How long I/O stood still, against what the settings in force allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

from harness.analysis.breakdown import Breakdown, breakdown
from harness.analysis.recovery import stall_after, stall_cut_by, still_felt
from harness.analysis.stall import Stall, stall_resolution_ns, worst_stall
from harness.budget import Budget
from harness.checks.definition import check
from harness.checks.excuses import unless_the_lab_did_it
from harness.checks.outcome import Outcome, failed, first_bad, passed, unknown
from harness.measurements import FaultRecord, Measurements
from harness.units import NS_PER_MS, NS_PER_S, format_seconds

# Coarser than this the probe is blind. A healthy run is an order of magnitude finer.
_COARSEST_NS = 100 * NS_PER_MS
# What makes I/O stand still ends no earlier than this before it does.
_CAUSED_WITHIN_NS = NS_PER_S
_MAX_STALL = "max_stall"


@dataclass(frozen=True)
class _Limit:
    """A limit of a stall, of which `spared_s` do not count; `shown` explains the limit.

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
        """The seconds by which a stall is too long; negative if it is not."""
        return stall.seconds - self.spared_s - self.seconds


@check("stall within budget", through_the_lab=True, by_completions=True)
def stall_within_budget(measurements: Measurements) -> Outcome:
    """No stall of any stream was longer than the effective settings allow.

    A stall that began while a fault was felt is held to that fault's budget. One that began
    before the first fault, or once a fault was healed and its paths were back, has the slack; and
    so has, of one that a fault found already there, the time until then. Unknown if a setting that
    is off leaves the budget without a limit: then no stall is too long, and none is proven short.
    """
    faults = sorted(measurements.faults, key=lambda f: f.injected_ns)
    if not faults:
        return unknown("no fault was injected, so there is no budget")
    if measurements.errors_forced:
        return _never_went_on(measurements)
    outcomes = [_before(measurements, faults[0])]
    for fault in faults:
        cut = stall_cut_by(measurements, fault)
        if cut and (earlier := still_felt(measurements, fault, cut)):
            text = f"{fault.name} was injected before I/O went on after {earlier.name}"
            return unknown(f"{text}: the stall is of both")
        if cut:
            when = f" when {fault.name} was injected"
            outcomes.append(_judge_stall(measurements, cut, _slack(fault), when=when))
        outcomes.append(_during(measurements, fault))
        if stall := stall_after(measurements, fault):
            when = f" after {fault.name}"
            outcomes.append(_judge_stall(measurements, stall, _slack(fault), when=when))
    # One by one: what excuses the first says nothing of the second.
    outcomes = [unless_the_lab_did_it(outcome, measurements) for outcome in outcomes]
    return first_bad(outcomes) or max(outcomes[1:], key=lambda each: each.numbers["stall_s"])


@check("no stall", through_the_lab=True, by_completions=True)
def no_stall_beyond(measurements: Measurements, seconds: float) -> Outcome:
    """No stream stood still for longer than that; for runs without a fault."""
    if measurements.errors_forced:
        return _never_went_on(measurements)
    stall = worst_stall(measurements, start_ns=_begun_ns(measurements))
    return _judge_stall(measurements, stall, _Limit("limit", seconds, f"limit {seconds:g} s"))


def _never_went_on(measurements: Measurements) -> Outcome:
    """I/O hung until its queueing was ended, long after its time was over."""
    text = "I/O stood still until it was made to fail: longer than any limit allows"
    return failed(f"{text}; {measurements.cut_short}")


def _before(measurements: Measurements, first: FaultRecord) -> Outcome:
    stall = worst_stall(measurements, start_ns=_begun_ns(measurements), end_ns=first.injected_ns)
    return _judge_stall(measurements, stall, _slack(first), when=" before any fault")


def _during(measurements: Measurements, fault: FaultRecord) -> Outcome:
    limit = _Limit(
        "budget",
        fault.budget.seconds,
        f"budget {fault.budget}",
        unlimited=_why_unlimited(fault.budget),
    )
    parts = breakdown(measurements, fault)
    if parts is None:
        return _judge_stall(measurements, None, limit)
    outage_ns = fault.healing_confirmed_ns - parts.stall.start_ns if fault.io_stops else 0
    spared_ns = max(0, outage_ns)
    outcome = _judge_stall(
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
        outcome,
        figures={**outcome.figures, **figures},
        numbers={**outcome.numbers, **_part_numbers(parts)},
    )


def _why_unlimited(budget: Budget) -> str:
    """The settings that are off, what follows, and the cures; empty if none is off."""
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
    measurements: Measurements,
    stall: Stall | None,
    limit: _Limit,
    *,
    when: str = "",
    because: Mapping[str, str] | None = None,
    spared_s: float = 0.0,
) -> Outcome:
    """Hold a stall to its limit and to max_stall, which does not count the first `spared_s`.

    `when`, and `because` by the name of the limit, complete the sentence that says by how much
    it is too long.
    """
    resolution_ns = stall_resolution_ns(measurements)
    if stall is None or resolution_ns is None:
        return unknown("the probe measured too little to tell")
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
            return failed(text, figures, numbers, span_ns)
        figures["of it without a processor"] = f"{waited_s:.3f} s"
        numbers["without_processor_s"] = waited_s
        return unknown(
            f"{text}; but the host gave the machines no processor for {waited_s:.3f} s of it",
            figures,
            numbers,
        )
    if limit.unlimited:
        text = f"I/O stalled {stall.seconds:.2f} s ({stall.stream}){when}, and nothing limits it"
        return unknown(f"{text}: {limit.unlimited}", figures, numbers)
    text = (
        f"longest stall {stall.seconds:.3f} s ({stall.stream}){when}, {allowance}, "
        f"resolution {format_seconds(resolution_s)}"
    )
    too_close = any(one.excess_s(stall) + resolution_s > 0 for one in limits)
    if resolution_ns > _COARSEST_NS or too_close:
        return unknown(f"too coarse to tell: {text}", figures, numbers)
    return passed(text, figures, numbers)


def _waited_s(measurements: Measurements, start_ns: int, end_ns: int) -> float:
    """Seconds of a stretch of time for which the stall may be the host's: at most all of it."""
    if measurements.processors is None:
        return 0.0
    return measurements.processors.waited_between(start_ns, end_ns) / NS_PER_S
