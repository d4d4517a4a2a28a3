"""Faults that took effect, paths that came back, sessions as planned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.checks import (
    Verdict,
    accounting_agrees,
    fault_took_effect,
    kernel_sound,
    no_unexpected_path_loss,
    sessions_as_planned,
)
from harness.measurements import (
    Found,
    Measurements,
    PathCounters,
)
from harness.timeline import Event, Happened, Timeline
from harness.transport.iscsi.settings import planned_session, session_settings
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import (
    carrying,
    found,
    good,
    with_counters,
    with_looks,
)
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START


def test_a_dead_path_that_carries_bytes_leaves_it_open() -> None:
    """Then nothing was tested."""
    measured = with_counters(
        good(), "a", lambda c: carrying(c, INJECTED + NS_PER_S, HEALED, 1_000_000)
    )
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert "path a (sda) still carried" in finding.message


def test_a_dead_path_that_answers_the_sweep_leaves_it_open() -> None:
    """The map has given it up, and sends nothing; but the fault has lost its effect."""
    lost_effect = with_looks(good(), "a", [INJECTED + 8 * NS_PER_S, INJECTED + 9 * NS_PER_S], 0)
    finding = found(fault_took_effect(), lost_effect)
    assert finding.verdict is Verdict.UNKNOWN
    assert "path a (sda) still answered 2 reads of the sweep during SilentDrop" in finding.message


@pytest.mark.parametrize(
    ("path", "at_ns", "result", "took_ns"),
    [
        ("a", INJECTED - NS_PER_S, 0, NS_PER_MS),
        ("a", INJECTED + 100 * NS_PER_MS, 0, NS_PER_MS),
        ("a", INJECTED + 8 * NS_PER_S, Found.NO_ANSWER, NS_PER_MS),
        ("a", INJECTED + 8 * NS_PER_S, 0, 8 * NS_PER_S),
        ("a", HEALED + NS_PER_S, 0, NS_PER_MS),
        ("b", INJECTED + 8 * NS_PER_S, 0, NS_PER_MS),
    ],
    ids=["before", "on the wire", "no answer", "after healing", "healed", "another path"],
)
def test_what_the_sweep_may_read_takes_no_effect_away(
    path: str, at_ns: int, result: int, took_ns: int
) -> None:
    measured = with_looks(good(), path, [at_ns], result, took_ns)
    assert found(fault_took_effect(), measured).verdict is Verdict.PASS


def test_what_is_read_back_at_the_end_takes_no_effect_away() -> None:
    """It is taken for a look that began as the last write was acknowledged."""
    measured = with_looks(good(), "a", [INJECTED + 8 * NS_PER_S], 0)
    history = measured.history
    assert history is not None
    read_back = replace(history, read=np.zeros_like(history.read))
    assert found(fault_took_effect(), replace(measured, history=read_back)).verdict is Verdict.PASS


def test_a_path_may_carry_bytes_before_the_order_to_heal_returns() -> None:
    """It was given at 14 s, and returned 4 s later: over a busy machine's SSH. I/O was back."""
    (fault,) = good().faults
    slow = replace(fault, healed_ns=HEALED + 4 * NS_PER_S)
    slow = replace(slow, healing_confirmed_ns=slow.healed_ns)
    ordered = replace(good(), faults=(replace(slow, healing_ns=HEALED),))
    assert found(fault_took_effect(), ordered).verdict is Verdict.PASS
    never = replace(good(), faults=(slow,))
    assert found(fault_took_effect(), never).verdict is Verdict.UNKNOWN


def test_a_path_that_does_not_take_over_fails() -> None:
    """Multipath's very promise."""
    measured = with_counters(good(), "b", lambda c: carrying(c, INJECTED, HEALED, 0))
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.FAIL
    assert "path b (sdb) did not take over" in finding.message


def test_bytes_of_the_moment_of_giving_up_do_not_count() -> None:
    """What was stuck on the path is accounted when it is failed, and only then."""
    failed_ns = INJECTED + 2_910 * NS_PER_MS
    measured = with_counters(
        good(),
        "a",
        lambda c: carrying(c, failed_ns - 100 * NS_PER_MS, failed_ns + 100 * NS_PER_MS, 65536),
    )
    events = [e for e in measured.timeline if e.what is not Happened.PATH_FAILED]
    told = Event(failed_ns, Happened.PATH_FAILED, "initiator kernel", "a", path="a")
    with_event = replace(measured, timeline=Timeline.of([*events, told]))
    without_event = replace(measured, timeline=Timeline.of(events))
    assert found(fault_took_effect(), with_event).verdict is Verdict.PASS
    assert found(fault_took_effect(), without_event).verdict is Verdict.UNKNOWN


def test_a_path_that_was_idle_before_leaves_it_open() -> None:
    """It would have carried nothing anyway."""
    measured = with_counters(good(), "a", lambda c: carrying(c, START, INJECTED, 0))
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

    partial = found(fault_took_effect(), with_counters(good(), "b", unseen))
    assert (partial.verdict, partial.message) == (
        Verdict.UNKNOWN,
        "SilentDrop(a): no byte counters of path b",
    )
    for counters in ((), good().counters[1:]):
        finding = found(fault_took_effect(), replace(good(), counters=counters))
        assert (finding.verdict, finding.message) == (
            Verdict.UNKNOWN,
            "SilentDrop(a): no byte counters of path a",
        )


def test_a_fault_of_another_name_was_not_injected() -> None:
    """A misspelt name must not pass."""
    finding = found(fault_took_effect("LinkDown(a)"), good())
    assert (finding.verdict, finding.message) == (
        Verdict.UNKNOWN,
        "no fault LinkDown(a) was injected",
    )
    assert found(fault_took_effect("SilentDrop(a)"), good()).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("sessions", "problem"),
    [
        ([("a", 1, 1, 1, "a")], "path b has 0 sessions"),
        ([("a", 1, 1, 1, "a"), ("b", 1, 1, 1, "b"), ("b", 1, 1, 1, "b")], "path b has 2 sessions"),
        (
            [("a", 1, 1, 1, "a"), ("b", 1, 1, 1, "a")],
            "path b runs through link a instead of link b",
        ),
        ([("a", 1, 1, 1, "a"), ("b", 1, 1, 1, "")], "path b runs through none of the links"),
        ([("a", 1, 1, 120, "a"), ("b", 1, 1, 1, "b")], "recovery_tmo of the session of path a"),
        ([("a", 1, 1, -1, "a"), ("b", 1, 1, 1, "b")], "of path a is off instead of 1 s"),
        ([("a", 1, 1, 0, "a"), ("b", 1, 1, 1, "b")], "of path a is 0 s instead of 1 s"),
        ([("a", 0, 1, 1, "a"), ("b", 1, 1, 1, "b")], "of path a is off instead of 1 s"),
    ],
)
def test_sessions_that_were_not_planned_fail(
    sessions: list[tuple[str, int, int, int, str]], problem: str
) -> None:
    """With what is wrong and where."""
    settings = tuple(session_settings(*one) for one in sessions)
    finding = found(sessions_as_planned(), replace(good(), settings=settings))
    assert finding.verdict is Verdict.FAIL
    assert problem in finding.message


def test_timeouts_left_to_the_distribution_are_not_judged() -> None:
    """The budget follows them, whatever they are."""
    planned = tuple(planned_session(path, through=path) for path in ("a", "b"))
    settings = tuple(session_settings(path, 5, 5, 120, path) for path in ("a", "b"))
    measured = replace(good(), settings=settings, settings_after=settings, planned=planned)
    assert found(sessions_as_planned(), measured).verdict is Verdict.PASS


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
    halved = with_counters(agreeing, "b", lambda c: carrying(c, HEALED, END, 0))
    assert found(accounting_agrees(0.02), halved).verdict is Verdict.UNKNOWN


def test_a_path_given_up_by_a_fault_is_expected() -> None:
    """That is what the fault is for."""
    assert found(no_unexpected_path_loss(), good()).verdict is Verdict.PASS


def test_a_path_given_up_without_a_fault_there_fails() -> None:
    """Before the fault, or the other path."""
    measured = good()
    fault = measured.faults[0]
    healthy = next(c.path for c in measured.counters if c.path not in fault.paths)
    hit = next(c.path for c in measured.counters if c.path in fault.paths)
    for path, at_ns in ((healthy, fault.confirmed_ns), (hit, fault.injected_ns - NS_PER_S)):
        event = Event(at_ns, Happened.PATH_FAILED, "initiator kernel", path, path=path)
        back_ns = at_ns + NS_PER_S // 100
        back = Event(back_ns, Happened.PATH_REINSTATED, "initiator kernel", path, path=path)
        spoilt = replace(measured, timeline=Timeline.of([*measured.timeline, event, back]))
        assert found(no_unexpected_path_loss(), spoilt).verdict is Verdict.FAIL


@pytest.mark.parametrize("missing", ["kernel_logs", "path_states"])
def test_without_a_kernel_log_or_samples_path_loss_is_open(missing: str) -> None:
    """Nothing seen is not nothing there; and without samples a line may be about any disk."""
    blind = replace(good(), **{missing: ()})  # type: ignore[arg-type]  # both are tuples
    assert found(no_unexpected_path_loss(), blind).verdict is Verdict.UNKNOWN


def given_up_twice(measured: Measurements) -> Measurements:
    """The path is given up a second time, 8 s after the first."""
    at_ns = INJECTED + 11 * NS_PER_S
    again = Event(at_ns, Happened.PATH_FAILED, "initiator", "a", path="a")
    return replace(measured, timeline=Timeline.of([*measured.timeline, again]))


def test_bytes_between_two_moments_of_giving_up_count() -> None:
    """The fault lost its effect for a while, and what the report would claim was not tested."""
    measured = given_up_twice(good())
    assert found(fault_took_effect(), measured).verdict is Verdict.PASS
    start, end = INJECTED + 5 * NS_PER_S, INJECTED + 9 * NS_PER_S
    flawed = with_counters(measured, "a", lambda c: carrying(c, start, end, 4096))
    finding = found(fault_took_effect(), flawed)
    assert finding.verdict is Verdict.UNKNOWN
    assert "path a (sda) still carried 4.0 KiB during SilentDrop(a)" in finding.message


def test_a_fault_that_hits_another_path_says_nothing_of_the_storage() -> None:
    """It was to hit path b; what it did to path a must not be taken for the array's doing."""
    (fault,) = good().faults
    measured = replace(good(), faults=(replace(fault, paths=("b",), name="SilentDrop(b)"),))
    for check in (fault_took_effect(), no_unexpected_path_loss()):
        finding = found(check, measured)
        assert finding.verdict is Verdict.UNKNOWN, finding.message
        assert "path b (sdb) still carried" in finding.message


def test_a_fault_that_was_healed_within_its_budget_demands_no_failover() -> None:
    """The other path need not take over yet, and the loss may be noticed only afterwards."""
    (fault,) = good().faults
    short = replace(fault, healed_ns=INJECTED + 2 * NS_PER_S)
    short = replace(short, healing_confirmed_ns=short.healed_ns + NS_PER_S // 10)
    measured = replace(good(), faults=(short,))
    assert found(no_unexpected_path_loss(), measured).verdict is Verdict.PASS
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert "path b (sdb) did not take over" in finding.message
    assert "healed within its budget" in finding.message


def test_path_loss_is_open_where_the_kernel_was_not_heard_to_the_end() -> None:
    watching = tuple(
        replace(w, died="connection lost", missing_marks=("the end",))
        if w.machine == "initiator"
        else w
        for w in good().watching
    )
    for check in (no_unexpected_path_loss(), kernel_sound()):
        finding = found(check, replace(good(), watching=watching))
        assert finding.verdict is Verdict.UNKNOWN
        assert "the initiator was not watched to the end: connection lost" in finding.message
