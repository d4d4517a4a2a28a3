"""How long I/O stood still, against what the settings in force allow."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from harness.analysis.breakdown import Breakdown, breakdown
from harness.analysis.fault_effect import means_missing, still_carried
from harness.analysis.fault_waits import StallsTogether, stalls_of
from harness.analysis.losses import losses_of
from harness.analysis.stall import Stall, stall_resolution_ns, worst_stall
from harness.checks.definition import check
from harness.checks.excuses import steal_against_failure, unless_the_lab_did_it
from harness.checks.outcome import Outcome, failed, first_bad, passed, unknown
from harness.checks.waits import (
    MAX_STALL,
    Judge,
    Limit,
    budget_of,
    judge_by_losses,
    judge_wait,
    never_went_on,
    together_of,
    waited,
    within_budget,
)
from harness.measurements import FaultRecord, Measurements
from harness.units import NS_PER_S, format_seconds


@check("stall within budget", through_the_lab=True, by_completions=True)
def stall_within_budget(measurements: Measurements) -> Outcome:
    """No stall of any stream was longer than the effective settings allow.

    The stall that ends as a path of a fault fails is held to that fault's budget, and to a
    budget more for each path that was lost after that while it lasted. Every other has the slack,
    also while the fault lasts. Unknown if a setting that is off leaves the budget without a limit:
    then no stall is too long, and none is proven short.
    """
    return within_budget(
        measurements,
        Judge(Stall, stall_resolution_ns(measurements), lambda f: _during(measurements, f)),
    )


@check("no stall", through_the_lab=True, by_completions=True)
def no_stall_beyond(measurements: Measurements, seconds: float) -> Outcome:
    """No stream stood still for longer than that; for runs without a fault."""
    if measurements.errors_forced:
        return never_went_on(measurements)
    limit = Limit("limit", seconds, f"limit {seconds:g} s")
    resolution_ns = stall_resolution_ns(measurements)
    return judge_wait(measurements, worst_stall(measurements), limit, resolution_ns)


@check("stalls together within budget", through_the_lab=True, by_completions=True)
def stalls_together_within_budget(measurements: Measurements) -> Outcome:
    """The stalls of each stream while a fault was felt are, added up, within that fault's budget.

    A fault that loses paths one after the other has its budget for each of these losses. One under
    which a path may go on, but worse, has the time for which it lasts besides.

    On an initiator that the fault does not hit there is no outage, and more than the budget is
    unknown: that is the slack, which is for a single pause.

    Many pauses are an outage as one long pause is. Those count that are longer than twice the
    longest before any fault, and than 0.5 s: a busy host makes shorter ones while I/O makes up for
    the outage. Many of these are slow reads, which *latency held* judges. On a busy host too much
    is unknown.
    """
    if not measurements.faults:
        return unknown("no fault was injected, so there is no budget")
    if measurements.errors_forced:
        return never_went_on(measurements)
    outcomes = [_added_up(measurements, fault) for fault in measurements.faults]
    outcomes = [unless_the_lab_did_it(outcome, measurements) for outcome in outcomes]
    return first_bad(outcomes) or max(outcomes, key=lambda each: each.numbers["stalls_s"])


def _added_up(measurements: Measurements, fault: FaultRecord) -> Outcome:
    sums = stalls_of(measurements, fault)
    if not sums:
        return unknown(f"no I/O completed while {fault.name} was felt")
    worst = max(sums, key=lambda one: one.seconds)
    limit = together_of(fault, losses_of(measurements, fault))
    figures = {
        f"stalls in {fault.name}": f"{worst.seconds:.3f} s in {worst.count} ({worst.stream})",
        "allowed": limit.shown,
    }
    numbers = {"stalls_s": worst.seconds, "stalls": worst.count}
    if isfinite(limit.seconds):
        numbers["budget_s"] = limit.seconds
    stalls = f"{worst.count} stall{'s' * (worst.count != 1)} of {worst.stream}"
    text = f"{stalls} in {fault.name} took {worst.seconds:.2f} s together"
    excess_s = worst.seconds - limit.seconds
    if excess_s <= 0:
        return passed(f"{text}, {limit.shown}", figures, numbers)
    text += f", {format_seconds(excess_s)} beyond {limit}"
    if doubt := _why_unsure(measurements, fault, worst, excess_s):
        return unknown(f"{text}; but {doubt}", figures, numbers)
    return failed(text, figures, numbers, (worst.spans[0][0] - NS_PER_S, worst.spans[-1][1]))


def _why_unsure(
    measurements: Measurements, fault: FaultRecord, stalls: StallsTogether, excess_s: float
) -> str:
    """Why that excess proves nothing against the storage, or nothing."""
    waited_s = sum(waited(measurements, *span) for span in stalls.spans)
    if excess_s <= waited_s:
        return f"the host gave the machines no processor for {waited_s:.3f} s of it"
    if steal := steal_against_failure(measurements, stalls.spans[0][0], stalls.spans[-1][1]):
        return f"the host held back {steal:.0%} of the processor time that the machines wanted"
    if not fault.paths:
        return "it hit no path of this initiator, and each pause has the slack"
    # A fault that was not in force for a while has broken its paths twice.
    return still_carried(measurements, fault) or means_missing(fault)


def _during(measurements: Measurements, fault: FaultRecord) -> Outcome:
    resolution_ns = stall_resolution_ns(measurements)
    parts = breakdown(measurements, fault)

    def judged(stall: Stall | None, losses: int) -> Outcome:
        limit = budget_of(fault, losses)
        if parts is None or stall is None or stall != parts.wait:
            return judge_wait(measurements, stall, limit, resolution_ns, when=f" in {fault.name}")
        return _by_parts(measurements, fault, parts, limit)

    return judge_by_losses(measurements, fault, Stall, judged)


def _by_parts(
    measurements: Measurements, fault: FaultRecord, parts: Breakdown, limit: Limit
) -> Outcome:
    """The outcome of a stall that was taken apart, with the layer that took too long."""
    outage_ns = fault.healing_confirmed_ns - parts.wait.start_ns if fault.io_stops else 0
    spared_ns = max(0, outage_ns)
    outcome = judge_wait(
        measurements,
        parts.wait,
        limit,
        stall_resolution_ns(measurements),
        when=f" in {fault.name}",
        because={
            limit.name: parts.culprit,
            MAX_STALL: parts.longest_since(parts.wait.start_ns + spared_ns),
        },
        spared_s=spared_ns / NS_PER_S,
    )
    figures = {part.layer: str(part) for part in parts.outage}
    figures |= {f"after healing: {part.layer}": str(part) for part in parts.recovery}
    if parts.missing:
        figures["not seen in time"] = ", ".join(parts.missing)
    return replace(
        outcome,
        figures={**outcome.figures, **figures},
        numbers={**outcome.numbers, **_part_numbers(parts)},
    )


def _part_numbers(parts: Breakdown) -> dict[str, float]:
    """Seconds of each part, as `detection_s`."""
    names = (part.layer.replace(",", "").replace(" ", "_") for part in parts.outage)
    return {f"{name}_s": part.seconds for name, part in zip(names, parts.outage, strict=True)}
