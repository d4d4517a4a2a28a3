"""Every check says pass, fail and unknown where it should; unknown is never a pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import (
    Check,
    Finding,
    Judgement,
    Verdict,
    accounting_agrees,
    data_intact,
    evidence_sound,
    fault_took_effect,
    judge,
    kernel_sound,
    latency_recovered,
    load_shared_again,
    no_io_errors,
    no_stall_beyond,
    no_unexpected_path_loss,
    paths_restored,
    sessions_as_planned,
    stall_within_budget,
    throughput_recovered,
)
from harness.errors import CouldNotTell, VerdictFailed
from harness.measurements import (
    MAP,
    BlockFinding,
    Budget,
    BudgetTerm,
    CompletionLog,
    Damage,
    FioErrors,
    KernelMessage,
    Measurements,
    PathCounters,
    PathStates,
    PlannedSession,
    ProcessorTime,
    ReadBack,
    SessionSettings,
    Stream,
)
from harness.timeline import Event, Happened, Timeline
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.synthetic_failover import (
    END,
    HEALED,
    INJECTED,
    STALL_S,
    START,
    failover,
    nothing_measured,
)

CHECKS = (
    accounting_agrees(within=0.5),
    data_intact(),
    evidence_sound(),
    fault_took_effect(),
    latency_recovered(at_most=3),
    kernel_sound(),
    load_shared_again(at_least=0.5),
    no_io_errors(),
    no_stall_beyond(5),
    paths_restored(),
    sessions_as_planned(),
    stall_within_budget(),
    throughput_recovered(at_least=0.9),
)
READ_BACK = ReadBack(100, 100, checked={MAP: 100, "sda": 100, "sdb": 100})
VERDICTS = st.lists(st.sampled_from(Verdict), max_size=8)


def good() -> Measurements:
    """A failover in which nothing is wrong and everything was seen."""
    measured = failover()
    return replace(
        measured,
        kernel_logs=tuple(replace(log, lost=0) for log in measured.kernel_logs),
        read_back=READ_BACK,
    )


def found(check: Check, measured: Measurements) -> Finding:
    return judge(measured, check).findings[0]


def with_stream(
    measured: Measurements, name: str, change: Callable[[Stream], Stream]
) -> Measurements:
    streams = tuple(change(s) if s.name == name else s for s in measured.streams)
    return replace(measured, streams=streams)


def without_io(stream: Stream, start_ns: int, end_ns: int) -> Stream:
    """The stream as if nothing had completed, nor been submitted, in a stretch of time."""
    log = stream.completions
    submitted = log.at_ns - log.latency_ns
    kept = (log.at_ns < start_ns) | (submitted > end_ns)
    columns = {
        name: getattr(log, name)[kept]
        for name in ("at_ns", "latency_ns", "offset", "size", "is_write")
    }
    return replace(stream, completions=CompletionLog(**columns, resolution_ns=log.resolution_ns))


def with_counters(
    measured: Measurements, path: str, change: Callable[[PathCounters], PathCounters]
) -> Measurements:
    counters = tuple(change(c) if c.path == path else c for c in measured.counters)
    return replace(measured, counters=counters)


def carrying(counters: PathCounters, start_ns: int, end_ns: int, total: int) -> PathCounters:
    """The counters as if the path had carried `total` bytes, evenly, in a stretch of time."""
    share = np.clip((counters.at_ns - start_ns) / (end_ns - start_ns), 0, 1)
    before = np.interp(start_ns, counters.at_ns, counters.bytes_written)
    after = np.interp(end_ns, counters.at_ns, counters.bytes_written)
    written = np.where(counters.at_ns < start_ns, counters.bytes_written, before + share * total)
    rest = np.where(counters.at_ns > end_ns, counters.bytes_written - after, 0)
    return replace(counters, bytes_written=(written + rest).astype(np.int64))


def with_kernel_line(measured: Measurements, text: str) -> Measurements:
    log = measured.kernel_logs[0]
    log = replace(log, messages=(*log.messages, KernelMessage(INJECTED, 3, text)))
    return replace(measured, kernel_logs=(log, *measured.kernel_logs[1:]))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_nothing_measured_is_never_a_pass(check: Check) -> None:
    """A test that broke before anything was collected says nothing of the storage."""
    assert found(check, nothing_measured()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "check",
    [c for c in CHECKS if c.name != "accounting agrees"],
    ids=lambda check: check.name,
)
def test_a_good_failover_passes(check: Check) -> None:
    """With a sentence and the name of the check."""
    finding = found(check, good())
    assert finding.verdict is Verdict.PASS, finding.message
    assert finding.check == check.name
    assert finding.message


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_changes_nothing(check: Check) -> None:
    """Asked twice it says the same."""
    measured = good()
    assert found(check, measured) == found(check, measured)


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        (FioErrors(5, 1, 0), "had 1 I/O errors (errno 5)"),
        (FioErrors(0, 3, 0), "had 3 I/O errors"),
        (FioErrors(110, 0, 0), "errno 110"),
        (FioErrors(84, 1, 2), "verification failed 2 times"),
    ],
)
def test_an_error_that_fio_saw_fails(errors: FioErrors, text: str) -> None:
    """Its own error number is enough."""
    measured = with_stream(good(), "probe", lambda s: replace(s, errors=errors))
    finding = found(no_io_errors(), measured)
    assert finding.verdict is Verdict.FAIL
    assert text in finding.message
    assert "'probe'" in finding.message


def test_an_error_on_the_map_fails() -> None:
    """fio may have tried again and seen none."""
    text = "I/O error, dev dm-0, sector 8"
    finding = found(no_io_errors(), with_kernel_line(good(), text))
    assert finding.verdict is Verdict.FAIL
    assert f"initiator kernel: {text}" in finding.message


def test_an_error_on_a_path_is_what_a_fault_looks_like() -> None:
    """Only the map must not have any."""
    measured = with_kernel_line(good(), "I/O error, dev sda, sector 8")
    assert found(no_io_errors(), measured).verdict is Verdict.PASS


def test_lost_records_of_a_kernel_log_leave_it_open() -> None:
    """The one that matters may be among them; but an error that was seen was seen."""
    assert found(no_io_errors(), replace(good(), kernel_logs=failover().kernel_logs)).message == (
        "2 records of the target's kernel log were lost"
    )
    measured = with_kernel_line(failover(), "I/O error, dev dm-0, sector 8")
    assert found(no_io_errors(), measured).verdict is Verdict.FAIL


def test_a_stream_that_did_nothing_in_a_phase_leaves_it_open() -> None:
    """No error and no I/O is no good run; unless every path was meant to be dead."""
    measured = with_stream(good(), "probe", lambda s: without_io(s, HEALED, END))
    finding = found(no_io_errors(), measured)
    assert (finding.verdict, finding.message) == (
        Verdict.UNKNOWN,
        "job 'probe' did no I/O in phase 'after'",
    )
    before, during, after = measured.phases
    excused = replace(measured, phases=(before, during, replace(after, io_expected=False)))
    assert found(no_io_errors(), excused).verdict is Verdict.PASS


def test_no_kernel_log_leaves_it_open() -> None:
    """Nobody looked."""
    assert found(no_io_errors(), replace(good(), kernel_logs=())).verdict is Verdict.UNKNOWN


def damaged(*findings: BlockFinding, **changes: Any) -> Measurements:
    return replace(good(), read_back=replace(READ_BACK, findings=findings, **changes))


def test_a_wrong_block_fails_with_its_place() -> None:
    """Where it was read, what is wrong, and how many of each kind; one is enough."""
    measured = damaged(
        BlockFinding(4096, MAP, Damage.TORN),
        BlockFinding(8192, MAP, Damage.BLANK),
        BlockFinding(8192, "sdb", Damage.LOST, "holds write 3 instead of 9"),
        checked={MAP: 90},
    )
    finding = found(data_intact(), measured)
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith(
        "2 of 100 acknowledged blocks are wrong (1 torn, 1 blank, 1 lost): torn at offset 4096 "
        "(map); blank at offset 8192 (map); lost at offset 8192 (sdb): holds write 3 instead of 9;"
    )
    assert {"wrong": "2", "torn": "1", "lost": "1"}.items() <= finding.figures.items()


@pytest.mark.parametrize("place", [MAP, "sda", "sdb"])
@pytest.mark.parametrize("damage", Damage)
def test_any_damage_anywhere_fails(place: str, damage: Damage) -> None:
    """Wherever the block was read, even if another path could not be."""
    measured = damaged(BlockFinding(0, place, damage), away={"sdb": "gone"})
    assert found(data_intact(), measured).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("back", "why"),
    [
        (None, "nothing was read back"),
        (ReadBack(0, 0, {MAP: 0, "sda": 0, "sdb": 0}), "no write was acknowledged"),
        (
            replace(READ_BACK, checked={MAP: 99, "sda": 100, "sdb": 100}),
            "only 99 of 100 blocks were read back from map",
        ),
        (
            replace(READ_BACK, checked={MAP: 100, "sda": 100}),
            "only 0 of 100 blocks were read back from sdb",
        ),
        (
            replace(READ_BACK, checked={MAP: 100, "sda": 100}, away={"sdb": "the disk is blocked"}),
            "sdb could not be read back: the disk is blocked",
        ),
    ],
)
def test_a_read_back_that_is_missing_empty_or_partial_leaves_it_open(
    back: ReadBack | None, why: str
) -> None:
    """What was not looked at may be wrong."""
    finding = found(data_intact(), replace(good(), read_back=back))
    assert (finding.verdict, finding.message) == (Verdict.UNKNOWN, why)


def test_writes_that_fio_did_not_verify_leave_it_open() -> None:
    """They say nothing by which they could be checked."""
    measured = with_stream(good(), "random writes", lambda s: replace(s, verified=False))
    finding = found(data_intact(), replace(measured, read_back=None))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.startswith("nothing was verified: job 'random writes'")


@pytest.mark.parametrize(
    ("verified", "foreign", "verdict"),
    [
        (0, 100, Verdict.UNKNOWN),
        (1, 100, Verdict.FAIL),  # then the blocks had headers once
        (0, 99, Verdict.FAIL),  # and the last one still has
    ],
)
def test_blocks_without_any_header_leave_it_open_unless_they_had_one(
    verified: int, foreign: int, verdict: Verdict
) -> None:
    """fio writes just that if its verification is switched off."""
    findings = [BlockFinding(n * 4096, MAP, Damage.FOREIGN) for n in range(foreign)]
    finding = found(data_intact(), damaged(*findings, verified=verified))
    assert finding.verdict is verdict
    assert ("verification was off" in finding.message) == (verdict is Verdict.UNKNOWN)


def test_a_dead_path_that_carries_bytes_leaves_it_open() -> None:
    """Then nothing was tested."""
    measured = with_counters(
        good(), "sda", lambda c: carrying(c, INJECTED + NS_PER_S, HEALED, 1_000_000)
    )
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert "sda (fabric a) still carried" in finding.message


def test_a_path_that_does_not_take_over_fails() -> None:
    """Multipath's very promise."""
    measured = with_counters(good(), "sdb", lambda c: carrying(c, INJECTED, HEALED, 0))
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.FAIL
    assert "sdb (fabric b) did not take over" in finding.message


def test_bytes_of_the_moment_of_giving_up_do_not_count() -> None:
    """What was stuck on the path is accounted when it is failed, and only then."""
    failed_ns = INJECTED + 2_910 * NS_PER_MS
    measured = with_counters(
        good(),
        "sda",
        lambda c: carrying(c, failed_ns - 100 * NS_PER_MS, failed_ns + 100 * NS_PER_MS, 65536),
    )
    events = [e for e in measured.timeline if e.what is not Happened.PATH_FAILED]
    told = Event(failed_ns, Happened.PATH_FAILED, "initiator kernel", "sda")
    with_event = replace(measured, timeline=Timeline.of([*events, told]))
    without_event = replace(measured, timeline=Timeline.of(events))
    assert found(fault_took_effect(), with_event).verdict is Verdict.PASS
    assert found(fault_took_effect(), without_event).verdict is Verdict.UNKNOWN


def test_a_path_that_was_idle_before_leaves_it_open() -> None:
    """It would have carried nothing anyway."""
    measured = with_counters(good(), "sda", lambda c: carrying(c, START, INJECTED, 0))
    assert "nothing even before" in found(fault_took_effect(), measured).message
    assert found(fault_took_effect(), measured).verdict is Verdict.UNKNOWN


def test_missing_counters_leave_it_open() -> None:
    """Of one path while the fault lasted, or of all paths."""

    def unseen(c: PathCounters) -> PathCounters:
        seen = c.at_ns < INJECTED
        return replace(
            c,
            at_ns=c.at_ns[seen],
            bytes_read=c.bytes_read[seen],
            bytes_written=c.bytes_written[seen],
        )

    partial = found(fault_took_effect(), with_counters(good(), "sdb", unseen))
    assert (partial.verdict, partial.message) == (
        Verdict.UNKNOWN,
        "SilentDrop(a): no byte counters of sdb",
    )
    for counters in ((), good().counters[1:]):
        finding = found(fault_took_effect(), replace(good(), counters=counters))
        assert (finding.verdict, finding.message) == (
            Verdict.UNKNOWN,
            "SilentDrop(a): no byte counters on fabric a",
        )


def test_a_fault_of_another_name_was_not_injected() -> None:
    """A misspelt name must not pass."""
    finding = found(fault_took_effect("LinkDown(a)"), good())
    assert (finding.verdict, finding.message) == (
        Verdict.UNKNOWN,
        "no fault LinkDown(a) was injected",
    )
    assert found(fault_took_effect("SilentDrop(a)"), good()).verdict is Verdict.PASS


@pytest.mark.parametrize("last", [{"sda": "failed", "sdb": "active"}, {"sdb": "active"}])
def test_a_path_that_does_not_come_back_fails(last: dict[str, str]) -> None:
    """It is still failed, or gone from the map."""
    measured = good()
    states = (*measured.path_states, PathStates(END, last))
    finding = found(paths_restored(), replace(measured, path_states=states))
    assert (finding.verdict, finding.message) == (Verdict.FAIL, "not active at the end: sda")


def test_path_states_that_nobody_saw_at_the_end_leave_it_open() -> None:
    """A path that was failed when the observer died may have come back."""
    measured = good()
    seen = tuple(s for s in measured.path_states if s.at_ns < HEALED)
    assert seen[-1].states["sda"] == "failed"
    finding = found(paths_restored(), replace(measured, path_states=seen))
    assert (finding.verdict, finding.message) == (
        Verdict.UNKNOWN,
        "no path states were sampled in phase 'after'",
    )


def test_an_active_path_that_carries_nothing_fails() -> None:
    """A state is only a claim."""
    measured = with_counters(good(), "sda", lambda c: carrying(c, HEALED, END, 0))
    assert found(paths_restored(), measured).verdict is Verdict.FAIL


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
    share = waited_s / 2 / STALL_S
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


def busy_host(steal: float, *, start_ns: int = START, end_ns: int = END) -> ProcessorTime:
    """Guests that want two processors all the time, and lack a share of that in a stretch."""
    at_ns = np.array([START, start_ns, end_ns, END], dtype=np.int64)
    lacked = np.array([0, 0, 2 * steal * (end_ns - start_ns), 2 * steal * (end_ns - start_ns)])
    waited_ns = lacked.astype(np.int64)
    return ProcessorTime(at_ns, 2 * (at_ns - START) - waited_ns, waited_ns)


@pytest.mark.parametrize(
    ("by", "steal", "start_ns", "end_ns", "verdict"),
    [
        (1, 0.5, START, END, Verdict.PASS),
        (1, 0.7, START, INJECTED, Verdict.UNKNOWN),  # what was there before may be hidden
        (1, 0.7, HEALED, END, Verdict.PASS),
        (2, 0.5, START, END, Verdict.FAIL),
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
    assert ("70%" in finding.message) == (verdict is Verdict.UNKNOWN)


@pytest.mark.parametrize(("part", "verdict"), [(0.1, Verdict.FAIL), (0.9, Verdict.PASS)])
def test_a_path_that_carries_less_after_healing_fails(part: float, verdict: Verdict) -> None:
    """The other path takes what it leaves, so that nothing is lost on the whole."""

    def after_healing(counters: PathCounters, factor: float) -> PathCounters:
        written = counters.bytes_written
        healed = int(np.searchsorted(counters.at_ns, HEALED))
        grown = written[healed] + factor * (written - written[healed])
        changed = np.where(counters.at_ns > HEALED, grown, written).astype(np.int64)
        return replace(counters, bytes_written=changed)

    slow, other = good().counters
    counters = (after_healing(slow, part), after_healing(other, 2 - part))
    finding = found(load_shared_again(at_least=0.5), replace(good(), counters=counters))
    assert finding.verdict is verdict
    assert ("sda carries" in finding.message) == (verdict is Verdict.FAIL)


def test_a_share_that_is_not_known_is_open() -> None:
    """One path was not sampled after healing."""
    first, other = good().counters
    early = first.at_ns < HEALED
    columns = {
        name: getattr(first, name)[early] for name in ("at_ns", "bytes_read", "bytes_written")
    }
    measured = replace(good(), counters=(replace(first, **columns), other))
    assert found(load_shared_again(at_least=0.5), measured).verdict is Verdict.UNKNOWN


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
    ("sessions", "problem"),
    [
        ([("a", 1, 1, 1, "a")], "fabric b has 0 sessions"),
        ([("a", 1, 1, 1, "a"), ("b", 1, 1, 1, "b"), ("b", 1, 1, 1, "b")], "b has 2 sessions"),
        ([("a", 1, 1, 1, "a"), ("b", 1, 1, 1, "a")], "fabric b runs through fabric a"),
        ([("a", 1, 1, 1, "a"), ("b", 1, 1, 1, "")], "runs through none of the fabrics"),
        ([("a", 1, 1, 120, "a"), ("b", 1, 1, 1, "b")], "recovery_tmo of the session on fabric a"),
    ],
)
def test_sessions_that_were_not_planned_fail(
    sessions: list[tuple[str, int, int, int, str]], problem: str
) -> None:
    """With what is wrong and where."""
    settings = tuple(SessionSettings(*one) for one in sessions)
    finding = found(sessions_as_planned(), replace(good(), settings=settings))
    assert finding.verdict is Verdict.FAIL
    assert problem in finding.message


def test_timeouts_left_to_the_distribution_are_not_judged() -> None:
    """The budget follows them, whatever they are."""
    planned = tuple(PlannedSession(fabric) for fabric in ("a", "b"))
    settings = tuple(SessionSettings(fabric, 5, 5, 120, fabric) for fabric in ("a", "b"))
    measured = replace(good(), settings=settings, planned=planned)
    assert found(sessions_as_planned(), measured).verdict is Verdict.PASS


def test_throughput_of_a_short_phase_or_of_nothing_leaves_it_open() -> None:
    """A median of two bins is none."""
    measured = good()
    before, during, after = measured.phases
    short = replace(after, end_ns=after.start_ns + 1_400 * NS_PER_MS)
    idle = replace(before, start_ns=START - 9 * NS_PER_S, end_ns=START)
    for phases in ((before, during, short), (before,), (idle, during, after)):
        finding = found(throughput_recovered(0.9), replace(measured, phases=phases))
        assert finding.verdict is Verdict.UNKNOWN, finding.message


def test_two_counts_of_the_same_bytes_must_agree() -> None:
    """If they do not, no figure can be trusted: that is no fault of the storage."""
    measured = good()
    log_bytes = sum(
        int(s.completions.size[s.completions.at_ns >= HEALED].sum()) for s in measured.streams
    )
    agreeing = replace(
        measured,
        counters=tuple(
            carrying(c, HEALED, END - 100 * NS_PER_MS, log_bytes // 2) for c in measured.counters
        ),
    )
    assert found(accounting_agrees(0.02), agreeing).verdict is Verdict.PASS
    halved = with_counters(agreeing, "sdb", lambda c: carrying(c, HEALED, END, 0))
    assert found(accounting_agrees(0.02), halved).verdict is Verdict.UNKNOWN


def saying(verdict: Verdict) -> Check:
    return Check(f"says {verdict}", lambda _: Finding(f"says {verdict}", verdict, "because"))


def test_a_check_that_crashes_could_not_tell() -> None:
    """The others are still run."""

    def crash(_: Measurements) -> Finding:
        raise ZeroDivisionError("on purpose")

    judgement = judge(good(), Check("crashes", crash), saying(Verdict.PASS))
    crashed, passed = judgement.findings
    assert crashed.verdict is Verdict.UNKNOWN
    assert "ZeroDivisionError('on purpose')" in crashed.message
    assert passed.verdict is Verdict.PASS
    assert judgement.verdict is Verdict.UNKNOWN


@given(VERDICTS)
def test_a_judgement_is_as_bad_as_its_worst_finding(verdicts: list[Verdict]) -> None:
    """Fail outweighs unknown outweighs pass; none asked is unknown."""
    judgement = judge(nothing_measured(), *map(saying, verdicts))
    if Verdict.FAIL in verdicts:
        assert judgement.verdict is Verdict.FAIL
    elif verdicts and set(verdicts) == {Verdict.PASS}:
        assert judgement.verdict is Verdict.PASS
    else:
        assert judgement.verdict is Verdict.UNKNOWN


@given(VERDICTS, st.randoms())
def test_the_order_of_the_checks_does_not_matter(verdicts: list[Verdict], chance: object) -> None:
    """Nor does asking one twice."""
    findings = tuple(Finding(str(v), v, "") for v in verdicts)
    assert Judgement(findings).verdict is Judgement(findings[::-1]).verdict
    assert Judgement(findings).verdict is Judgement(findings + findings).verdict


@given(VERDICTS)
def test_only_a_pass_of_all_goes_through(verdicts: list[Verdict]) -> None:
    """A failure names every check that did not pass; an unknown is the lab's error."""
    judgement = judge(nothing_measured(), *map(saying, verdicts))
    if judgement.verdict is Verdict.PASS:
        judgement.require()
        return
    expected = VerdictFailed if judgement.verdict is Verdict.FAIL else CouldNotTell
    with pytest.raises(expected) as raised:
        judgement.require()
    for verdict in verdicts:
        assert (f"says {verdict}: {verdict}: because" in str(raised.value)) is (
            verdict is not Verdict.PASS
        )


def test_a_path_given_up_by_a_fault_is_expected() -> None:
    """That is what the fault is for."""
    assert found(no_unexpected_path_loss(), good()).verdict is Verdict.PASS


def test_a_path_given_up_without_a_fault_there_fails() -> None:
    """Before the fault, or on the other fabric."""
    measured = good()
    fault = measured.faults[0]
    healthy = next(c.path for c in measured.counters if c.fabric not in fault.fabrics)
    hit = next(c.path for c in measured.counters if c.fabric in fault.fabrics)
    for path, at_ns in ((healthy, fault.confirmed_ns), (hit, fault.injected_ns - NS_PER_S)):
        event = Event(at_ns, Happened.PATH_FAILED, "initiator kernel", path)
        spoilt = replace(measured, timeline=Timeline.of([*measured.timeline, event]))
        assert found(no_unexpected_path_loss(), spoilt).verdict is Verdict.FAIL


def test_without_a_kernel_log_path_loss_is_open() -> None:
    """Nothing seen is not nothing there."""
    blind = replace(good(), kernel_logs=())
    assert found(no_unexpected_path_loss(), blind).verdict is Verdict.UNKNOWN


def test_io_that_was_cut_short_never_passes() -> None:
    """It may have been fine as far as it went."""
    cut = replace(good(), cut_short="fio ended early")
    assert found(no_io_errors(), cut).verdict is Verdict.UNKNOWN
