"""Faults that no path notices until they are healed, or at all: what that excuses, and proves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.fault_waits import excused_wait, other_wait
from harness.analysis.reserve_changes import reserve_changes
from harness.analysis.stall import Stall
from harness.checks import (
    Check,
    Verdict,
    fault_took_effect,
    latency_held,
    longest_io_within_budget,
    no_trouble_without_a_fault,
    no_unexpected_path_loss,
    redundancy_back_in_time,
    stall_within_budget,
    stalls_together_within_budget,
    throughput_held,
)
from harness.measurements import FaultRecord, MeansSample, Measurements
from harness.timeline import Event, Happened, Timeline
from harness.units import NS_PER_S
from suites.selftest.unit import standstill
from suites.selftest.unit.judged import carrying, found, good, with_counters
from suites.selftest.unit.standstill import HEALED, at
from suites.selftest.unit.synthetic_failover import END, INJECTED, START
from suites.selftest.unit.synthetic_failover import HEALED as HEALED_NS

BOTH = ("a", "b")


def felt_late(measured: Measurements) -> Measurements:
    """The same, as if both paths had been hit, and only when the fault was healed."""
    (fault,) = measured.faults
    late = replace(fault, paths=BOTH, limping=BOTH, felt_at_healing=True)
    return replace(measured, faults=(late,))


@pytest.mark.parametrize("check", [stall_within_budget(), longest_io_within_budget()])
@pytest.mark.parametrize(
    ("pause", "verdict", "says"),
    [
        ((6.0, 8.0), Verdict.FAIL, "beyond the slack of 1 s"),
        ((6.0, 6.9), Verdict.PASS, ""),
        ((HEALED - 1, HEALED + 2.5), Verdict.PASS, ""),
        ((HEALED + 0.05, HEALED + 3.9), Verdict.PASS, ""),
        ((HEALED - 1, HEALED + 3.5), Verdict.FAIL, "beyond the budget of 4 s"),
    ],
    ids=["before", "short", "across", "after", "too long"],
)
def test_io_has_the_slack_until_healing_and_the_budget_from_then_on(
    check: Check, pause: tuple[float, float], verdict: Verdict, says: str
) -> None:
    measured = felt_late(standstill.measured(pause, seen=()))
    finding = found(check, standstill.watched(measured))
    assert finding.verdict is verdict, finding.message
    assert says in finding.message


def test_the_wait_of_the_fault_is_the_longest_since_healing() -> None:
    """A longer one before that is none of it."""
    measured = felt_late(standstill.measured((6.0, 8.0), (HEALED + 1, HEALED + 2), seen=()))
    (fault,) = measured.faults
    excused = excused_wait(measured, fault, Stall)
    other = other_wait(measured, fault, Stall)
    assert excused is not None
    assert other is not None
    assert (excused.seconds, other.seconds) == (1.0, 2.0)


def test_all_waits_together_have_the_time_since_healing() -> None:
    """Not all of the time for which the fault lasted."""
    measured = felt_late(standstill.measured(seen=()))
    assert found(stalls_together_within_budget(), measured).numbers["budget_s"] == pytest.approx(
        4.1
    )


def untouched(measured: Measurements) -> Measurements:
    """No path is lost, and both carry I/O all the time."""
    for path in BOTH:
        measured = with_counters(measured, path, lambda c: carrying(c, START, END, 20_000_000))
    states = (
        replace(look, states=dict.fromkeys(look.states, "active")) for look in measured.path_states
    )
    kept = (event for event in measured.timeline if not event.path)
    return replace(measured, path_states=tuple(states), timeline=Timeline.of(kept))


def lost(at_ns: int, what: Happened = Happened.PATH_FAILED) -> Measurements:
    """Path b is lost at that time, and nothing else happens."""
    measured = felt_late(untouched(good()))
    event = Event(at_ns, what, "initiator", "b", path="b")
    return replace(measured, timeline=Timeline.of([*measured.timeline, event]))


@pytest.mark.parametrize(
    ("at_ns", "unexpected"), [(INJECTED + NS_PER_S, 1), (HEALED_NS + NS_PER_S, 0)]
)
def test_a_path_that_is_lost_before_healing_is_lost_without_a_fault(
    at_ns: int, unexpected: int
) -> None:
    assert found(no_unexpected_path_loss(), lost(at_ns)).numbers["unexpected"] == unexpected


@pytest.mark.parametrize(("at_ns", "signs"), [(INJECTED + NS_PER_S, 1), (HEALED_NS + NS_PER_S, 0)])
def test_a_connection_that_breaks_before_healing_breaks_without_a_fault(
    at_ns: int, signs: int
) -> None:
    broken = lost(at_ns, Happened.CONNECTION_ERROR)
    finding = found(no_trouble_without_a_fault(), broken)
    assert finding.numbers["signs_of_trouble"] == signs


@pytest.mark.parametrize(("at_ns", "told"), [(INJECTED + NS_PER_S, True), (HEALED_NS, False)])
def test_a_path_that_goes_into_reserve_before_healing_does_so_by_itself(
    at_ns: int, *, told: bool
) -> None:
    measured = felt_late(untouched(good()))
    looks = (
        replace(look, reserve=frozenset("b" if look.at_ns > at_ns else ()))
        for look in measured.path_states
    )
    changed = replace(measured, path_states=tuple(looks))
    assert [change.path for change in reserve_changes(changed)] == ["b"] * told


def test_a_path_that_is_missing_before_healing_is_missing_without_a_fault() -> None:
    def missing(start_ns: int) -> Measurements:
        measured = felt_late(untouched(good()))
        looks = (
            replace(look, states={"a": "active", "b": "missing"})
            if start_ns <= look.at_ns <= start_ns + NS_PER_S
            else look
            for look in measured.path_states
        )
        return replace(measured, path_states=tuple(looks))

    before = found(no_unexpected_path_loss(), missing(INJECTED + NS_PER_S))
    assert before.verdict is Verdict.FAIL
    after = found(no_unexpected_path_loss(), missing(HEALED_NS + NS_PER_S // 5))
    assert after.numbers["absent_unexpectedly"] == 0


@pytest.mark.parametrize("check", [throughput_held(at_least=0.9), latency_held(at_most=5)])
def test_the_load_is_compared_until_healing(check: Check) -> None:
    """Over all paths: none of them is any worse. That one is lost later changes nothing."""
    for measured in (felt_late(untouched(good())), lost(HEALED_NS + NS_PER_S)):
        finding = found(check, measured)
        assert finding.message.startswith("SilentDrop(a): ")
        assert "between the loss of its paths and healing" not in finding.message
        assert "no byte counters" not in finding.message
        assert "had been in reserve" not in finding.message


def test_no_path_has_to_come_back_where_none_was_lost() -> None:
    finding = found(redundancy_back_in_time(), felt_late(untouched(good())))
    assert finding.verdict is Verdict.PASS
    assert finding.message == "SilentDrop(a): no path failed"


def acting(fault: FaultRecord, *samples: MeansSample) -> FaultRecord:
    """With one of these samples each second, the last again and again."""
    times = range(INJECTED + NS_PER_S, HEALED_NS, NS_PER_S)
    every = [*samples, *[samples[-1]] * len(times)]
    seen = tuple(replace(s, at_ns=at_ns) for at_ns, s in zip(times, every, strict=False))
    return replace(fault, means_samples=seen)


def unnoticed(*samples: MeansSample) -> Measurements:
    measured = untouched(good())
    (fault,) = measured.faults
    return replace(measured, faults=(acting(replace(fault, paths=()), *samples),))


def counted(number: int) -> MeansSample:
    return MeansSample("Rescan(initiator)", count=number, grows=True)


@pytest.mark.parametrize(
    ("measured", "verdict", "says"),
    [
        (unnoticed(counted(1), counted(2)), Verdict.PASS, "each carried I/O"),
        (unnoticed(counted(1)), Verdict.UNKNOWN, "Rescan(initiator) did nothing that counts"),
        (unnoticed(MeansSample("Killed")), Verdict.PASS, "each carried I/O"),
        (
            unnoticed(MeansSample("Killed"), MeansSample("Killed", missing="the daemon runs")),
            Verdict.UNKNOWN,
            "the daemon runs, 2.0 s after SilentDrop(a) was injected: not in force",
        ),
    ],
    ids=["done again", "done once", "away", "back"],
)
def test_what_no_path_notices_is_proven_by_its_means(
    measured: Measurements, verdict: Verdict, says: str
) -> None:
    """That each path carried I/O proves nothing."""
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is verdict, finding.message
    assert says in finding.message


def test_what_is_felt_at_healing_need_not_count() -> None:
    """But its means have to be in place until then."""
    measured = felt_late(untouched(good()))
    (fault,) = measured.faults
    for sample, verdict in (
        (MeansSample("Killed"), Verdict.PASS),
        (MeansSample("Killed", missing="the daemon runs"), Verdict.UNKNOWN),
    ):
        finding = found(fault_took_effect(), replace(measured, faults=(acting(fault, sample),)))
        assert finding.verdict is verdict, finding.message


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        ({"a": "missing", "b": "active"}, Verdict.PASS),
        ({"a": "missing", "b": "missing"}, Verdict.UNKNOWN),
    ],
    ids=["left the map", "the map was not read"],
)
def test_a_path_in_reserve_may_also_leave_the_map(states: dict[str, str], verdict: Verdict) -> None:
    """As one does whose disk is gone."""
    measured = with_counters(good(), "a", lambda c: carrying(c, START, END, 0))
    looks = (
        replace(look, reserve=frozenset({"a"}), states=dict.fromkeys(look.states, "active"))
        if not INJECTED + NS_PER_S < look.at_ns < HEALED_NS
        else replace(look, reserve=frozenset({"a"}), states=states)
        for look in measured.path_states
    )
    finding = found(fault_took_effect(), replace(measured, path_states=tuple(looks)))
    assert finding.verdict is verdict, finding.message
    if verdict is Verdict.UNKNOWN:
        assert "was in reserve, and not seen to fail" in finding.message


def test_a_part_that_counted_nothing_in_a_short_time_is_not_proven() -> None:
    measured = untouched(good())
    (fault,) = measured.faults
    short = replace(
        fault,
        paths=("a",),
        limping=("a",),
        healed_ns=INJECTED + 2 * NS_PER_S,
        means_samples=(MeansSample("x", INJECTED + NS_PER_S, count=None, grows=True),),
    )
    finding = found(fault_took_effect(), replace(measured, faults=(short,)))
    assert finding.verdict is Verdict.UNKNOWN
    assert "what x did was not seen" in finding.message


def test_the_time_of_healing_is_that_of_the_order() -> None:
    (fault,) = felt_late(good()).faults
    assert fault.felt_from_ns == fault.healed_ns
    assert replace(fault, healing_ns=7).felt_from_ns == 7
    assert replace(fault, felt_at_healing=False).felt_from_ns == INJECTED
    assert at(HEALED) == standstill.measured().faults[0].ordered_ns
