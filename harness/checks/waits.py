"""How waits of I/O are held to their limits: pauses of streams, and single I/Os alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite

from harness.analysis.fault_effect import without_effect
from harness.analysis.fault_waits import (
    other_wait,
    still_felt,
    wait_after,
    wait_before,
    wait_cut_by,
)
from harness.analysis.losses import longest_by_losses
from harness.analysis.stall import Kind, LongIo, Stall, Wait
from harness.budget import Budget
from harness.checks.excuses import unless_samples_are_missing, unless_the_lab_did_it
from harness.checks.kernel import unread_kernel_logs
from harness.checks.outcome import Outcome, Verdict, failed, first_bad, passed, unknown
from harness.measurements import FaultRecord, Measurements
from harness.timeline import Happened
from harness.units import NS_PER_MS, NS_PER_S, format_seconds

# Coarser than this the probe is blind. A healthy run is an order of magnitude finer.
_COARSEST_NS = 100 * NS_PER_MS
# What makes I/O wait ends no earlier than this before it does.
_CAUSED_WITHIN_NS = NS_PER_S
MAX_STALL = "max_stall"
# Of the numbers of a check: seconds of the wait that do not count for max_stall.
SPARED_KEY = "spared_by_max_stall_s"


@dataclass(frozen=True)
class Words:
    """How a kind of wait is told: of one that was, and by name; `key` is for programs."""

    happened: str
    name: str
    key: str


_WORDS: Mapping[type[Wait], Words] = {
    Stall: Words("I/O stalled", "stall", "stall_s"),
    LongIo: Words("an I/O took", "longest I/O", "longest_io_s"),
}


@dataclass(frozen=True)
class Limit:
    """A limit of a wait, of which `spared_s` do not count; `shown` explains the limit.

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

    def excess_s(self, wait: Wait) -> float:
        """The seconds by which a wait is too long; negative if it is not."""
        return wait.seconds - self.spared_s - self.seconds


@dataclass(frozen=True)
class Judge:
    """How waits of one kind are judged; `resolution_ns` is how finely they are seen, if at all.

    `excused` judges the wait that a fault excuses.
    """

    kind: type[Wait]
    resolution_ns: int | None
    excused: Callable[[FaultRecord], Outcome]


def within_budget(measurements: Measurements, judge: Judge) -> Outcome:
    """Hold every wait to the one limit that it has.

    A wait that ends as a path of a fault fails has that fault's budget. Every other has the
    slack: before the first fault, while one lasts, once its paths are back, and of one that a fault
    found already there, the time until then.
    """
    faults = sorted(measurements.faults, key=lambda f: f.injected_ns)
    if not faults:
        return unknown("no fault was injected, so there is no budget")
    if measurements.errors_forced:
        return never_went_on(measurements)

    def held(wait: Wait | None, fault: FaultRecord, when: str) -> list[Outcome]:
        limit = slack_of(fault)
        resolution_ns = judge.resolution_ns
        return [judge_wait(measurements, wait, limit, resolution_ns, when=when)] if wait else []

    before = wait_before(measurements, faults[0], judge.kind)
    if before is None:
        return unknown("no I/O was seen before the fault")
    outcomes = held(before, faults[0], " before any fault")
    of_faults = []
    for fault in faults:
        cut = wait_cut_by(measurements, fault, judge.kind)
        if cut and (earlier := still_felt(measurements, fault, cut.start_ns)):
            text = f"{fault.name} was injected before I/O went on after {earlier.name}"
            return unknown(f"{text}: the stall is of both")
        outcomes += held(cut, fault, f" when {fault.name} was injected")
        of_faults.append(judge.excused(fault))
        other = other_wait(measurements, fault, judge.kind)
        beside = held(other, fault, f" in {fault.name}, while no path failed")
        outcomes += [_unless_it_may_be_the_faults(one, measurements, fault) for one in beside]
        outcomes += held(wait_after(measurements, fault, judge.kind), fault, f" after {fault.name}")
    # One by one: what excuses the first says nothing of the second.
    judged = [unless_the_lab_did_it(one, measurements) for one in (*of_faults, *outcomes)]
    key = _WORDS[judge.kind].key
    return first_bad(judged) or max(of_faults, key=lambda each: each.numbers[key])


def judge_by_losses(
    measurements: Measurements,
    fault: FaultRecord,
    kind: type[Kind],
    judged: Callable[[Kind | None, int], Outcome],
) -> Outcome:
    """Judge the waits that a fault excuses, each with the number of losses that it met."""
    longest = longest_by_losses(measurements, fault, kind)
    if not longest:
        return judged(None, 1)
    outcomes = [judged(wait, losses) for losses, wait in longest.items()]
    key = _WORDS[kind].key
    return first_bad(outcomes) or max(outcomes, key=lambda each: each.numbers[key])


def _unless_it_may_be_the_faults(
    outcome: Outcome, measurements: Measurements, fault: FaultRecord
) -> Outcome:
    """A wait that a fault does not excuse, unless something is missing that could excuse it.

    Which wait ended as a path failed is known by the kernel's log only, and whether that path
    was in use by samples only. A fault that missed its path may have hit another that was lost.
    """
    if outcome.verdict is not Verdict.FAIL:
        return outcome
    doubts = unread_kernel_logs(measurements)
    lost_another = any(
        e.what is Happened.PATH_FAILED
        and e.path not in fault.paths
        and fault.injected_ns <= e.at_ns <= fault.healing_confirmed_ns
        for e in measurements.timeline
    )
    if lost_another and (missed := without_effect(measurements, fault)):
        doubts.append(missed)
    if not doubts:
        return unless_samples_are_missing(outcome, measurements)
    text = f"{outcome.message}; but it may be the fault's: {'; '.join(doubts)}"
    return unknown(text, outcome.figures, outcome.numbers)


def never_went_on(measurements: Measurements) -> Outcome:
    """I/O hung until its queueing was ended, long after its time was over."""
    text = "I/O stood still until it was made to fail: longer than any limit allows"
    return failed(f"{text}; {measurements.cut_short}")


def budget_of(fault: FaultRecord, losses: int = 1) -> Limit:
    """The budget of a fault as a limit, for so many losses one after the other."""
    times = f"{losses} times the budget" if losses > 1 else "budget"
    return Limit(
        "budget",
        losses * fault.budget.seconds,
        f"{times} {fault.budget}",
        unlimited=_why_unlimited(fault.budget),
    )


def together_of(fault: FaultRecord, losses: int) -> Limit:
    """What all stalls of a fault may be together: its budget for each of so many losses.

    While a path may go on, but worse, I/O may wait for it all the time.
    """
    limit = budget_of(fault, losses)
    if not fault.limping:
        return limit
    lasted_s = (fault.healing_confirmed_ns - fault.felt_from_ns) / NS_PER_S
    shown = f"{lasted_s:.2f} s for which it was felt, and {limit.shown}"
    return replace(limit, seconds=lasted_s + limit.seconds, shown=shown)


def slack_of(fault: FaultRecord) -> Limit:
    """The slack of a fault's budget as a limit."""
    seconds = sum(t.seconds for t in fault.budget.terms if t.name == "slack")
    return Limit("slack", seconds, f"slack {seconds:g} s")


def _why_unlimited(budget: Budget) -> str:
    """The settings that are off, what follows, and the cures; empty if none is off."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for term in budget.unlimited:
        reasons.setdefault((term.why, term.cure), []).append(f"{term.name} ({term.source})")
    return "; ".join(
        f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} off: {why} (cure: {cure})"
        for (why, cure), names in reasons.items()
    )


def judge_wait(
    measurements: Measurements,
    wait: Wait | None,
    limit: Limit,
    resolution_ns: int | None,
    *,
    when: str = "",
    because: Mapping[str, str] | None = None,
    spared_s: float = 0.0,
) -> Outcome:
    """Hold a wait to its limit and to max_stall, which does not count the first `spared_s`.

    `when`, and `because` by the name of the limit, complete the sentence that says by how much
    it is too long.
    """
    if wait is None or resolution_ns is None:
        too_little = "the probe measured too little to tell"
        return unknown(too_little if wait else f"no I/O completed{when}")
    words = _WORDS[type(wait)]
    limits = [limit]
    if (most_s := measurements.max_stall_s) is not None:
        limits.append(Limit(MAX_STALL, most_s, f"max_stall {most_s:g} s", spared_s))
    allowance = " and ".join(one.shown for one in limits)
    resolution_s = resolution_ns / NS_PER_S
    figures = {
        words.name: f"{wait.seconds:.3f} s ({wait.stream})",
        "allowed": allowance,
        "resolution": format_seconds(resolution_s),
    }
    numbers = {words.key: wait.seconds, "resolution_s": resolution_s}
    numbers |= {f"{one.name}_s": one.seconds for one in limits if isfinite(one.seconds)}
    if spared_s:
        numbers[SPARED_KEY] = spared_s
    happened = f"{words.happened} {wait.seconds:.2f} s ({wait.stream}){when}"
    if exceeded := [one for one in limits if one.excess_s(wait) > 0]:
        waited_s = waited(measurements, wait.start_ns, wait.end_ns)
        proven = [one for one in exceeded if one.excess_s(wait) > waited_s]
        worst = (proven or exceeded)[0]
        text = f"{happened}, {format_seconds(worst.excess_s(wait))} beyond {worst}"
        if because and because[worst.name]:
            text += f": {because[worst.name]}"
        if proven:
            span_ns = (wait.start_ns - _CAUSED_WITHIN_NS, wait.end_ns)
            return failed(text, figures, numbers, span_ns)
        figures["of it without a processor"] = f"{waited_s:.3f} s"
        numbers["without_processor_s"] = waited_s
        return unknown(
            f"{text}; but the host gave the machines no processor for {waited_s:.3f} s of it",
            figures,
            numbers,
        )
    if limit.unlimited:
        text = f"{happened}, and nothing limits it"
        return unknown(f"{text}: {limit.unlimited}", figures, numbers, same_again=True)
    what = f"longest {words.name.removeprefix('longest ')}"
    text = (
        f"{what} {wait.seconds:.3f} s ({wait.stream}){when}, {allowance}, "
        f"resolution {format_seconds(resolution_s)}"
    )
    too_close = any(one.excess_s(wait) + resolution_s > 0 for one in limits)
    if resolution_ns > _COARSEST_NS or too_close:
        return unknown(f"too coarse to tell: {text}", figures, numbers)
    return passed(text, figures, numbers)


def waited(measurements: Measurements, start_ns: int, end_ns: int) -> float:
    """Seconds of a stretch of time for which a wait may be the host's: at most all of it."""
    if measurements.processors is None:
        return 0.0
    return measurements.processors.waited_between(start_ns, end_ns) / NS_PER_S
