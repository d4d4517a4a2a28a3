"""Checks at their very limits: what is allowed is allowed to the last nanosecond, and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.budget import Budget, BudgetTerm
from harness.checks import (
    Verdict,
    accounting_agrees,
    each_path_as_good_as_before,
    fault_took_effect,
    lab_disks_sound,
    no_io_errors,
    no_unexpected_path_loss,
)
from harness.checks.excuses import (
    disturbed,
    starved,
    steal_against_failure,
    unless_samples_are_missing,
)
from harness.checks.outcome import failed
from harness.measurements import CompletionLog, LabDisk, Measurements, PathCounters
from harness.timeline import Event, Happened, Phase, Timeline
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import (
    busy_host,
    carrying,
    found,
    good,
    with_counters,
    with_stream,
)
from suites.selftest.unit.synthetic_failover import (
    END,
    HEALED,
    INJECTED,
    START,
    UNCERTAINTY_NS,
)

BEFORE, DURING, AFTER = good().phases


def completing(*at_ns: int, size: int = 1000) -> CompletionLog:
    """An I/O at each of these times, which took a millisecond."""
    at = np.array(at_ns, dtype=np.int64)
    same = np.full_like(at, size)
    return CompletionLog(at, np.full_like(at, NS_PER_MS), same * 0, same, at > 0, NS_PER_MS)


def counted(fio: tuple[int, ...], *carried: int) -> Measurements:
    """I/Os of 1000 bytes at these times, and paths that carried so many bytes after healing."""
    measured = good()
    stream = replace(measured.streams[0], completions=completing(*fio))
    at_ns = np.array([HEALED, END], dtype=np.int64)
    counters = [
        PathCounters(f"p{n}", ("sda",), at_ns, at_ns * 0, np.array([5, 5 + bytes_], dtype=np.int64))
        for n, bytes_ in enumerate(carried)
    ]
    return replace(measured, streams=(stream,), counters=tuple(counters))


def test_accounts_of_the_last_phase_have_its_first_and_its_last_io() -> None:
    """And none of another."""
    both = found(accounting_agrees(0), counted((HEALED - 1, HEALED, END, END + 1), 1200, 800))
    assert both.verdict is Verdict.PASS
    assert both.message == "fio and the paths agree to 0.0%"
    assert both.figures == {"fio": "2.0 KiB", "paths": "2.0 KiB"}
    assert both.numbers == {"fio_bytes": 2000, "paths_bytes": 2000}


def test_accounts_may_differ_by_the_share_that_is_allowed() -> None:
    for within, verdict in ((0.25, Verdict.PASS), (0.24, Verdict.UNKNOWN)):
        finding = found(accounting_agrees(within), counted((HEALED,), 800))
        assert finding.verdict is verdict
        assert finding.numbers == {"fio_bytes": 1000, "paths_bytes": 800}


@pytest.mark.parametrize("carried", [(), (0,), (0, 0)])
def test_paths_that_carried_nothing_are_no_account(carried: tuple[int, ...]) -> None:
    finding = found(accounting_agrees(1), counted((), *carried))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == "no byte counters of any path"


def test_one_byte_is_an_account() -> None:
    assert found(accounting_agrees(1), counted((), 1)).verdict is Verdict.PASS


def test_a_fault_that_lasted_as_long_as_its_budget_had_time_to_be_felt() -> None:
    """A path that does not take over fails from then on; before that it may be about to."""
    measured = with_counters(good(), "b", lambda c: carrying(c, INJECTED, HEALED, 0))
    (fault,) = measured.faults
    for seconds, verdict in ((14, Verdict.FAIL), (14.001, Verdict.UNKNOWN)):
        held = replace(fault, budget=Budget((BudgetTerm("slack", seconds, "stated"),)))
        finding = found(fault_took_effect(), replace(measured, faults=(held,)))
        assert finding.verdict is verdict, finding.message


def test_what_a_fault_without_paths_did_is_told_as_such() -> None:
    """It hits another initiator."""
    measured = good()
    (fault,) = measured.faults
    elsewhere = replace(measured, faults=(replace(fault, paths=()),))
    steady = with_counters(elsewhere, "a", lambda c: carrying(c, START, END, 10_000_000))
    assert found(fault_took_effect(), steady).message == (
        "SilentDrop(a): it hits no path of this initiator, and each carried I/O"
    )
    assert found(fault_took_effect(), measured).message == (
        "SilentDrop(a): dead paths carried nothing"
    )


def test_an_io_at_either_end_of_a_phase_is_in_it() -> None:
    """A job that completed one there did I/O in that phase."""
    before, during, after = good().phases
    apart = (before, replace(during, start_ns=INJECTED + 1, end_ns=HEALED - 1), after)
    for at_ns in ((START, INJECTED + 1, HEALED), (INJECTED, HEALED - 1, END)):
        log = completing(*at_ns)
        probe = next(one for one in good().streams if one.name == "probe")
        only = replace(probe, completions=log)
        measured = with_stream(good(), "probe", lambda _, only=only: only)  # type: ignore[misc]  # bound here
        finding = found(no_io_errors(), replace(measured, phases=apart))
        assert finding.verdict is Verdict.PASS, finding.message
    log = completing(START, HEALED)
    measured = with_stream(good(), "probe", lambda s: replace(s, completions=log))
    finding = found(no_io_errors(), replace(measured, phases=apart))
    assert finding.message == "job 'probe' did no I/O in phase 'during'"


def test_a_host_is_too_busy_beyond_its_limit_and_not_at_it() -> None:
    """0.4 of the processor time may be gone for a failure, 0.6 for a pass."""
    for steal, fails, recovers in ((0.4, True, True), (0.6, False, True), (0.61, False, False)):
        measured = replace(good(), processors=busy_host(steal))
        figures: dict[str, str] = {}
        assert (starved(measured, AFTER, figures, recovered=False) == "") is fails
        assert (starved(measured, AFTER, figures, recovered=True) == "") is recovers
        assert figures == {"steal after": f"{steal:.0%}"}
        told = steal_against_failure(measured, START, END)
        assert told == (0.0 if fails else pytest.approx(steal))


def test_a_busy_phase_is_told_by_when_it_was() -> None:
    busy = replace(good(), processors=busy_host(0.7))
    named = replace(DURING, name="during LinkDown(a)")
    assert starved(busy, BEFORE, {}, recovered=True) == (
        "but before the fault the host held back 70% of the processor time that the machines "
        "wanted: too busy to compare"
    )
    assert starved(busy, AFTER, {}, recovered=True).startswith("but after the fault the host")
    assert starved(busy, named, {}, recovered=True).startswith("but during LinkDown(a) the host")


def test_a_host_may_be_busier_afterwards_by_a_tenth() -> None:
    for became, verdict in ((0.25, ""), (0.26, "too different to compare")):
        host = busy_host(became, start_ns=HEALED)
        waited = host.waited_ns.copy()
        waited[1:, :] += int(0.15 * (HEALED - START))
        ran = (host.at_ns - START)[:, np.newaxis] - waited
        steady = replace(host, waited_ns=waited, ran_ns=ran)
        figures: dict[str, str] = {}
        before = Phase("before", START, HEALED)
        told = disturbed(replace(good(), processors=steady), before, AFTER, figures)
        assert told.endswith(verdict), told
        assert bool(told) is bool(verdict)
        assert figures == {"steal after": f"{became:.0%}", "steal before": "15%"}


def test_samples_may_be_a_second_apart_and_not_more() -> None:
    """A gap of just that long is none."""
    for beyond_ns, verdict in ((0, Verdict.FAIL), (1, Verdict.UNKNOWN)):
        first, second = good().watching
        at_ns = np.arange(START, END, 500 * NS_PER_MS, dtype=np.int64)
        at_ns[20:] += 500 * NS_PER_MS + beyond_ns
        kept = at_ns <= END
        even = replace(first, at_ns=at_ns[kept])
        watched = replace(good(), watching=(even, second))
        assert unless_samples_are_missing(failed("no"), watched).verdict is verdict


@pytest.mark.parametrize(("samples", "sampled"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_disk_is_sampled_with_two_samples(samples: int, sampled: bool) -> None:
    """Of fewer nothing can be said."""
    at_ns = START + np.arange(samples, dtype=np.int64) * 100 * NS_PER_MS
    disk = LabDisk("target", "vda", at_ns, at_ns * 0, at_ns)
    finding = found(lab_disks_sound(), replace(good(), lab_disks=(disk,)))
    assert (finding.verdict is Verdict.PASS) is sampled
    assert ("vda of the target was not sampled" in finding.message) is not sampled


def test_a_path_that_a_fault_hit_may_be_given_up_from_the_moment_of_the_fault() -> None:
    """As far as that is known by the clock of the path's machine."""
    measured = good()
    first_ns = INJECTED - UNCERTAINTY_NS
    for at_ns, verdict in ((first_ns, Verdict.PASS), (first_ns - 1, Verdict.FAIL)):
        others = [e for e in measured.timeline if e.what is not Happened.PATH_FAILED]
        lost = Event(at_ns, Happened.PATH_FAILED, "initiator kernel", "a", path="a")
        states = tuple(
            replace(one, states={"a": "failed", "b": "active"})
            if at_ns <= one.at_ns < HEALED + 3 * NS_PER_S
            else one
            for one in measured.path_states
        )
        early = replace(measured, timeline=Timeline.of([*others, lost]), path_states=states)
        finding = found(no_unexpected_path_loss(), early)
        assert finding.verdict is verdict, finding.message


@pytest.mark.parametrize(("bins", "compared"), [(4, True), (3, False)])
def test_a_path_is_compared_by_four_stretches_of_io(bins: int, compared: bool) -> None:
    """Fewer than that are too few, before or afterwards."""
    before, during, after = good().phases
    short = replace(after, end_ns=HEALED + bins * NS_PER_S // 2)
    finding = found(each_path_as_good_as_before(2), replace(good(), phases=(before, during, short)))
    assert ("latency_ratio_b" in finding.numbers) is compared, finding


def latencies(was_ms: float, **became_ms: float) -> Measurements:
    """Each I/O of each path takes so long before, and so long after healing."""
    measured = good()
    for path, milliseconds in became_ms.items():

        def taking(c: PathCounters, milliseconds: float = milliseconds) -> PathCounters:
            ios = np.diff(c.completed, prepend=0)
            took = np.where(c.at_ns >= HEALED, ios * milliseconds, ios * was_ms)
            return replace(c, took_ms=np.cumsum(took).astype(np.int64))

        measured = with_counters(measured, path, taking)
    return measured


@pytest.mark.parametrize(
    ("was_ms", "a", "b", "verdict"),
    [
        (1, 3, 1, Verdict.PASS),  # 2 ms longer, which is little in itself
        (1, 4, 1, Verdict.FAIL),
        (10, 20, 10, Verdict.PASS),  # twice as long, as is allowed
        (10, 21, 10, Verdict.FAIL),
        (10, 21, 11, Verdict.UNKNOWN),  # not twice as much slower as the other one
        (10, 23, 11, Verdict.FAIL),
        (10, 21, 5, Verdict.FAIL),  # the other one became faster: that is no measure
    ],
)
def test_a_path_is_slower_beyond_twice_its_time_and_two_milliseconds(
    was_ms: int, a: int, b: int, verdict: Verdict
) -> None:
    finding = found(each_path_as_good_as_before(2), latencies(was_ms, a=a, b=b))
    assert finding.verdict is verdict, finding
