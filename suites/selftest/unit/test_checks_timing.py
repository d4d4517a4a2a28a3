"""Stalls, latency and throughput, and how far the host may be the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.throughput import binned_rates
from harness.budget import Budget, BudgetTerm
from harness.checks import (
    Check,
    Verdict,
    latency_recovered,
    no_stall_beyond,
    stall_within_budget,
    throughput_recovered,
)
from harness.measurements import (
    PROBE,
    CompletionLog,
    Stream,
)
from harness.timeline import Phase
from harness.units import MIB, NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import (
    busy_host,
    found,
    good,
    with_stream,
    without_io,
)
from suites.selftest.unit.synthetic_failover import (
    END,
    HEALED,
    INJECTED,
    STALL_S,
    START,
)


@pytest.mark.parametrize("slack_s", [0.0, 0.5, 3.0])
def test_a_stall_is_judged_by_the_budget(slack_s: float) -> None:
    """2.94 s pass with 3.5 and 6 allowed, and fail with 2."""
    measured = good()
    detection = BudgetTerm("recovery_tmo", 1 + slack_s + (0.5 if slack_s else 0), "sysfs")
    terms = (detection, BudgetTerm("slack", 1, "budget.slack_s"))
    faults = tuple(replace(f, budget=Budget(terms)) for f in measured.faults)
    finding = found(stall_within_budget(), replace(measured, faults=faults))
    assert finding.verdict is (Verdict.PASS if Budget(terms).seconds > STALL_S else Verdict.FAIL)
    assert "2.94" in finding.message


@pytest.mark.parametrize(
    ("waited_s", "verdict"), [(0.0, Verdict.FAIL), (0.4, Verdict.FAIL), (0.6, Verdict.UNKNOWN)]
)
def test_a_stall_that_may_be_the_hosts_is_open(waited_s: float, verdict: Verdict) -> None:
    """It is half a second too long: without a processor for longer, a machine shows nothing."""
    measured = good()
    fault = measured.faults[0]
    slack = BudgetTerm("slack", STALL_S - 0.5, "stated")
    measured = replace(measured, faults=(replace(fault, budget=Budget((slack,))),))
    assert found(stall_within_budget(), measured).verdict is Verdict.FAIL
    share = waited_s / STALL_S
    host = busy_host(share, start_ns=INJECTED, end_ns=INJECTED + int(STALL_S * NS_PER_S))
    assert found(stall_within_budget(), replace(measured, processors=host)).verdict is verdict


def test_a_stall_that_the_probe_cannot_tell_from_the_budget_is_open() -> None:
    """Within its resolution either might be true."""
    assert found(no_stall_beyond(STALL_S + 0.002), good()).verdict is Verdict.UNKNOWN
    assert found(no_stall_beyond(STALL_S - 0.002), good()).verdict is Verdict.FAIL
    assert found(no_stall_beyond(STALL_S + 0.1), good()).verdict is Verdict.PASS


def test_a_stall_of_any_stream_counts() -> None:
    """Not only of the probe."""
    later = HEALED + NS_PER_S

    def stalled(stream: Stream) -> Stream:
        gap = without_io(stream, later, later + 5 * NS_PER_S)
        first = int(np.searchsorted(gap.completions.at_ns, later + 5 * NS_PER_S))
        latency = gap.completions.latency_ns.copy()
        latency[first] = gap.completions.at_ns[first] - later
        return replace(gap, completions=replace(gap.completions, latency_ns=latency))

    measured = with_stream(good(), "random writes", stalled)
    finding = found(stall_within_budget(), measured)
    assert finding.verdict is Verdict.FAIL
    assert "(random writes)" in finding.message


@pytest.mark.parametrize("check", [stall_within_budget(), no_stall_beyond(5)])
def test_without_a_probe_nothing_is_said_of_stalls(check: Check) -> None:
    """Gone, or too few of them before the fault to know how finely it looks."""
    measured = good()
    gone = replace(measured, streams=measured.streams[:1])
    late = with_stream(measured, "probe", lambda s: without_io(s, START, INJECTED - NS_PER_S // 10))
    assert found(check, gone).verdict is Verdict.UNKNOWN
    assert found(check, late).verdict is Verdict.UNKNOWN


def test_a_coarse_probe_leaves_it_open() -> None:
    """It came round only every 200 ms."""

    def thinned(stream: Stream) -> Stream:
        log = stream.completions
        columns = {
            name: getattr(log, name)[::22]
            for name in ("at_ns", "latency_ns", "offset", "size", "is_write")
        }
        return replace(stream, completions=CompletionLog(**columns, resolution_ns=1))

    finding = found(no_stall_beyond(10), with_stream(good(), "probe", thinned))
    assert finding.verdict is Verdict.UNKNOWN
    assert "coarse" in finding.message


def test_without_a_fault_there_is_no_budget() -> None:
    """Then another check is the right one."""
    finding = found(stall_within_budget(), replace(good(), faults=()))
    assert finding.verdict is Verdict.UNKNOWN


def test_throughput_that_stays_low_fails() -> None:
    """Half of it is gone after healing."""

    def slower(stream: Stream) -> Stream:
        log = stream.completions
        size = np.where(log.at_ns > HEALED, log.size // 2, log.size)
        return replace(stream, completions=replace(log, size=size))

    measured = replace(good(), streams=tuple(map(slower, good().streams)))
    assert found(throughput_recovered(0.9), measured).verdict is Verdict.FAIL
    assert found(throughput_recovered(0.4), measured).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("by", "steal", "start_ns", "end_ns", "verdict"),
    [
        (1, 0.5, START, END, Verdict.PASS),
        (1, 0.7, START, INJECTED, Verdict.UNKNOWN),  # what was there before may be hidden
        (1, 0.7, HEALED, END, Verdict.PASS),
        (2, 0.3, START, END, Verdict.FAIL),
        (2, 0.5, START, END, Verdict.UNKNOWN),  # enough for a pass, not for a failure
        (2, 0.7, START, INJECTED, Verdict.FAIL),
        (2, 0.7, HEALED, END, Verdict.UNKNOWN),  # the host may have taken it
    ],
)
def test_throughput_that_the_host_may_have_taken_is_open(
    by: int, steal: float, start_ns: int, end_ns: int, verdict: Verdict
) -> None:
    """A little steal is always there."""

    def slower(stream: Stream) -> Stream:
        log = stream.completions
        size = np.where(log.at_ns > HEALED, log.size // by, log.size)
        return replace(stream, completions=replace(log, size=size))

    measured = replace(
        good(),
        streams=tuple(map(slower, good().streams)),
        processors=busy_host(steal, start_ns=start_ns, end_ns=end_ns),
    )
    finding = found(throughput_recovered(0.9), measured)
    assert finding.verdict is verdict
    assert (f"held back {steal:.0%}" in finding.message) == (verdict is Verdict.UNKNOWN)


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ((85, 85), Verdict.FAIL),  # always the same: a loss, if a small one
        ((40, 130), Verdict.UNKNOWN),  # 85 on the average, and next time it may be 95
        ((20, 60), Verdict.FAIL),
    ],
)
def test_a_small_loss_among_rates_that_vary_is_none_that_is_proven(
    rates: tuple[int, int], verdict: Verdict
) -> None:
    """In percent of the rate before the fault, by turns of half a second."""

    def slower(stream: Stream) -> Stream:
        log = stream.completions
        turn = (log.at_ns - HEALED) // (NS_PER_S // 2) % 2
        share = np.where(log.at_ns > HEALED, np.array(rates)[turn], 100)
        return replace(stream, completions=replace(log, size=log.size * share // 100))

    measured = replace(good(), streams=tuple(map(slower, good().streams)))
    finding = found(throughput_recovered(0.9), measured)
    assert finding.verdict is verdict, finding.message
    assert ("vary too much to tell" in finding.message) == (verdict is Verdict.UNKNOWN)


def test_latency_by_too_few_reads_is_not_proven_to_be_higher() -> None:
    """Of 24 reads every sixth took ten times as long: by chance it may have been every twelfth."""

    def few(stream: Stream) -> Stream:
        log = stream.completions
        rare = np.flatnonzero(log.at_ns > HEALED)[:: (log.at_ns > HEALED).sum() // 24]
        kept = np.union1d(np.flatnonzero(log.at_ns <= HEALED), rare)
        latency_ns = log.latency_ns.copy()
        latency_ns[rare[::6]] *= 10
        whole = {name: getattr(log, name)[kept] for name in ("at_ns", "offset", "size", "is_write")}
        return replace(
            stream,
            completions=replace(log, **whole, latency_ns=latency_ns[kept]),
            reported=len(kept),
        )

    finding = found(latency_recovered(at_most=3), with_stream(good(), "probe", few))
    assert finding.verdict is Verdict.UNKNOWN, finding.message
    assert "too few to tell" in finding.message


@pytest.mark.parametrize(("factor", "verdict"), [(10, Verdict.FAIL), (2, Verdict.PASS)])
def test_half_of_the_reads_being_slow_after_healing_fails(factor: int, verdict: Verdict) -> None:
    """As over one of two paths that came back slow."""

    def slower(stream: Stream) -> Stream:
        log = stream.completions
        slow = (log.at_ns > HEALED) & (np.arange(len(log)) % 2 == 0)
        latency_ns = np.where(slow, factor * log.latency_ns, log.latency_ns)
        return replace(stream, completions=replace(log, latency_ns=latency_ns))

    measured = with_stream(good(), "probe", slower)
    assert found(latency_recovered(at_most=3), measured).verdict is verdict
    busy = replace(measured, processors=busy_host(0.7))
    assert found(latency_recovered(at_most=3), busy).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "check", [throughput_recovered(0.9), stall_within_budget(), no_stall_beyond(1)]
)
def test_a_failure_by_ios_that_fios_log_lacks_leaves_it_open(check: Check) -> None:
    """Without the entries after healing; the report has their number."""

    def lacking(stream: Stream) -> Stream:
        rest = without_io(stream, HEALED + NS_PER_S, END)
        log = rest.completions
        later = without_io(stream, START, HEALED + 8 * NS_PER_S).completions
        both = {
            name: np.concatenate([getattr(log, name), getattr(later, name)])
            for name in ("at_ns", "latency_ns", "offset", "size", "is_write")
        }
        both["latency_ns"][len(log)] = 5 * NS_PER_S
        whole = CompletionLog(**both, resolution_ns=log.resolution_ns)
        return replace(stream, completions=whole, reported=len(whole))

    measured = with_stream(good(), "random writes", lacking)
    assert found(check, measured).verdict is Verdict.FAIL
    measured = with_stream(measured, "random writes", lambda s: replace(s, reported=43500))
    finding = found(check, measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith("but fio's log and report of job 'random writes' differ")


def test_throughput_of_a_short_phase_or_of_nothing_leaves_it_open() -> None:
    """A median of two bins is none."""
    measured = good()
    before, during, after = measured.phases
    short = replace(after, end_ns=after.start_ns + 1_400 * NS_PER_MS)
    idle = replace(before, start_ns=START - 9 * NS_PER_S, end_ns=START)
    for phases in ((before, during, short), (before,), (idle, during, after)):
        finding = found(throughput_recovered(0.9), replace(measured, phases=phases))
        assert finding.verdict is Verdict.UNKNOWN, finding.message


def test_a_standstill_that_was_there_before_the_fault_has_the_slack_only() -> None:
    """I/O stood still for two seconds when the cable was pulled: that is not the fault's doing."""
    began = INJECTED - 2 * NS_PER_S
    measured = good()
    (fault,) = measured.faults
    roomy = Budget((*fault.budget.terms, BudgetTerm("pause", 5, "stated")))
    measured = replace(measured, faults=(replace(fault, budget=roomy),))
    assert found(stall_within_budget(), measured).verdict is Verdict.PASS

    def stuck(stream: Stream) -> Stream:
        rest = without_io(stream, began, INJECTED)
        log = rest.completions
        latency = log.latency_ns.copy()
        first = int(np.searchsorted(log.at_ns, INJECTED))
        latency[first] = log.at_ns[first] - began
        return replace(rest, completions=replace(log, latency_ns=latency))

    still = with_stream(measured, "probe", stuck)
    finding = found(stall_within_budget(), still)
    assert finding.verdict is Verdict.FAIL
    assert "(probe) when SilentDrop(a) was injected" in finding.message
    assert "beyond the slack of 1 s" in finding.message


def test_nothing_is_compared_with_io_that_only_gets_under_way() -> None:
    """The first phase has a fifth of the rate; it is not settled, and the second one counts."""
    measured = good()
    before, *others = measured.phases
    middle = (before.start_ns + before.end_ns) // 2
    start = Phase("start", before.start_ns, middle, io_expected=False, settled=False)
    phases = (start, replace(before, start_ns=middle), *others)

    def slow(stream: Stream) -> Stream:
        log = stream.completions
        size = np.where((log.at_ns < middle) | (log.at_ns > HEALED), log.size // 5, log.size)
        return replace(stream, completions=replace(log, size=size))

    measured = replace(measured, phases=phases, streams=tuple(map(slow, measured.streams)))
    assert measured.before is phases[1]
    assert found(throughput_recovered(0.9), measured).verdict is Verdict.FAIL
    assert found(latency_recovered(3), measured).figures.keys() >= {"p90 before", "p90 after"}


def test_a_load_that_made_up_for_a_slow_start_need_not_go_on_so() -> None:
    """fio catches up with its pace; 130 % of it before and 100 % afterwards is no loss."""

    def slower(stream: Stream) -> Stream:
        log = stream.completions
        size = np.where(log.at_ns > HEALED, log.size * 10 // 13, log.size)
        return replace(stream, completions=replace(log, size=size))

    measured = good()
    measured = replace(measured, streams=tuple(map(slower, measured.streams)))
    assert found(throughput_recovered(0.9), measured).verdict is Verdict.FAIL
    (load,) = (s for s in measured.streams if s.name != PROBE)
    asked = float(binned_rates([load], measured.phases[-1]).mean())
    paced = with_stream(measured, load.name, lambda s: replace(s, pace=asked))
    finding = found(throughput_recovered(0.9), paced)
    assert finding.verdict is Verdict.PASS, finding.message
    assert finding.numbers["after_mib_s"] == pytest.approx(asked / MIB, rel=0.01)
    assert finding.numbers["before_mib_s"] == pytest.approx(asked / MIB, rel=0.01)


@pytest.mark.parametrize("check", [stall_within_budget(), no_stall_beyond(5)])
def test_io_that_had_to_be_made_to_fail_stood_still_too_long(check: Check) -> None:
    """What never completed is in no log of completions."""
    forced = replace(good(), errors_forced=True, cut_short="fio hangs")
    finding = found(check, forced)
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith("I/O stood still until it was made to fail")


def test_a_stall_under_two_faults_is_of_neither() -> None:
    """The second was injected before I/O went on after the first."""
    measured = good()
    (fault,) = measured.faults
    first = replace(
        fault,
        healed_ns=INJECTED + NS_PER_S,
        healing_confirmed_ns=INJECTED + NS_PER_S + NS_PER_MS,
    )
    second = replace(fault, name="LinkDown(b)", injected_ns=INJECTED + 2 * NS_PER_S)
    finding = found(stall_within_budget(), replace(measured, faults=(first, second)))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == (
        "LinkDown(b) was injected before I/O went on after SilentDrop(a): the stall is of both"
    )
