"""Which waits a fault excuses: those for a path that carried I/O, and for the first one back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis import fault_waits
from harness.analysis.losses import losses_of
from harness.analysis.path_absences import excused_until_ns
from harness.checks import Verdict, longest_io_within_budget, stall_within_budget
from harness.measurements import (
    ClockReading,
    FaultRecord,
    Measurements,
    PathCounters,
    PathStates,
    Watching,
)
from harness.timeline import Phase, Timeline
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.standstill import (
    END,
    FAILED,
    LOSS,
    RECOVERED,
    REINSTATED,
    RETURN,
    Seen,
    at,
    event,
    found,
    measured,
    watched,
)

TICKS = np.arange(at(-3), at(END), 80 * NS_PER_MS, dtype=np.int64)


def with_path_c(
    measurements: Measurements,
    given_up_s: float,
    reserve: Callable[[int], bool] = lambda _: True,
    carries: Callable[[int], bool] = lambda _: False,
) -> Measurements:
    """The fault hits path c, too: when it is in reserve, and when it carries something."""
    (fault,) = measurements.faults
    some = np.cumsum([4096 * carries(int(tick)) for tick in TICKS], dtype=np.int64)
    c = PathCounters("c", ("sdc",), TICKS, np.zeros_like(TICKS), some)
    lost = replace(event(given_up_s, FAILED, "1"), path="c")
    every = dict.fromkeys("abc", "active")
    return replace(
        measurements,
        faults=(replace(fault, paths=(*fault.paths, "c")),),
        counters=(*measurements.counters, c),
        timeline=Timeline.of([*measurements.timeline, lost]),
        path_states=tuple(
            PathStates(int(tick), every, frozenset({"c"} if reserve(int(tick)) else ()))
            for tick in TICKS
        ),
    )


@pytest.mark.parametrize("in_reserve", [True, False])
def test_a_path_that_carried_nothing_excuses_no_wait(in_reserve: bool) -> None:
    """It is lost beside one that did, and is given up later: the survivor stood still just then."""
    stalled = watched(measured((0, 3.05), (5.6, 9.1)))
    late = with_path_c(stalled, 9.0, reserve=lambda _: in_reserve)
    for check in (stall_within_budget(), longest_io_within_budget()):
        finding = found(check, late)
        assert finding.verdict is Verdict.FAIL, finding.message
        assert "while no path failed" in finding.message
    assert losses_of(late, late.faults[0]) == 1
    used = with_path_c(stalled, 9.0, reserve=lambda _: False, carries=lambda _: True)
    assert found(stall_within_budget(), used).verdict is Verdict.PASS
    assert losses_of(used, used.faults[0]) == 2
    unseen = replace(used, counters=used.counters[:2])
    assert found(stall_within_budget(), unseen).verdict is Verdict.PASS


def test_a_reserve_that_comes_into_use_and_is_lost_then_has_a_budget_of_its_own() -> None:
    """No I/O completed over it, so it has no bytes: all that was sent there waited."""
    stalled = watched(measured((0, 3.05), (3.2, 6.8)))
    chosen = with_path_c(stalled, 6.7, reserve=lambda tick: tick < at(3.05))
    finding = found(stall_within_budget(), chosen)
    assert finding.verdict is Verdict.PASS, finding.message
    assert losses_of(chosen, chosen.faults[0]) == 2


@pytest.mark.parametrize(("known_ms", "verdict"), [(5, Verdict.PASS), (2, Verdict.FAIL)])
def test_a_path_given_up_at_once_has_its_wait_excused_as_far_as_clocks_tell(
    known_ms: int, verdict: Verdict
) -> None:
    """The log of its machine has it 3 ms before the injection, by clocks known to 5 ms or to 2."""
    early = watched(measured((0, 3.05), seen=((-0.003, FAILED, "1"), *RETURN, (9, FAILED, "1"))))
    clock = ClockReading("initiator", 0, 0, known_ms * NS_PER_MS)
    finding = found(stall_within_budget(), replace(early, clocks=(clock,)))
    assert finding.verdict is verdict, finding.message


def sampled_until(measurements: Measurements, gap_s: float) -> Measurements:
    """The initiator gave no sample for 1.5 s from then on; else every 80 ms."""
    seen = abs(TICKS - at(gap_s + 0.75)) > 0.75 * NS_PER_S
    ticks = TICKS[seen]
    watching = Watching("initiator", at(-3), at(END), ticks, np.zeros_like(ticks), ticks // 50)
    kept = set(ticks.tolist())
    states = tuple(look for look in measurements.path_states if look.at_ns in kept)
    return replace(measurements, watching=(watching,), path_states=states)


def test_what_a_reserve_may_excuse_that_nobody_saw_come_into_use_is_no_failure() -> None:
    """It came into use while nobody looked, and was lost then. What has no excuse fails."""
    stalled = watched(measured((0, 3.05), (4.2, 6.8)))
    in_gap = with_path_c(stalled, 6.7, reserve=lambda tick: not at(5.5) < tick < at(6.7))
    assert found(stall_within_budget(), in_gap).verdict is Verdict.PASS
    gap = sampled_until(in_gap, 5.4)
    for check in (stall_within_budget(), longest_io_within_budget()):
        finding = found(check, gap)
        assert finding.verdict is Verdict.UNKNOWN, finding.message
        assert "no sample of the initiator for 1." in finding.message
    too_long = sampled_until(watched(measured((-0.5, 4.2), seen=((4.1, FAILED, "1"),))), 5.4)
    finding = found(stall_within_budget(), too_long)
    assert finding.verdict is Verdict.FAIL
    assert "beyond the budget of 4 s" in finding.message


@pytest.mark.parametrize("phase_s", [17.5, 20.9])
def test_a_path_that_came_into_use_after_an_earlier_fault_is_waited_for(phase_s: float) -> None:
    """I/O stayed on b, which was idle before the first fault. A phase may just have begun."""
    seen: tuple[Seen, ...] = (*LOSS, *RETURN, (24.0, FAILED, "2"))
    twice = watched(measured((0, 3.05), (21, 24.05), seen=seen))
    (first,) = twice.faults
    second = replace(
        first,
        name="LinkDown(b)",
        paths=("b",),
        injected_ns=at(21),
        confirmed_ns=at(21.1),
        healed_ns=at(24.5),
        healing_confirmed_ns=at(24.6),
    )
    a, b = twice.counters
    moved = np.cumsum(4096 * ((at(3.05) < TICKS) & (at(21) > TICKS)), dtype=np.int64)
    between = (Phase("between", at(17.5), at(phase_s)), Phase("calm", at(phase_s), at(21)))
    twice = replace(
        twice,
        faults=(first, second),
        counters=(a, replace(b, bytes_written=moved)),
        phases=(twice.phases[0], *between, Phase("after", at(24.5), at(END))),
    )
    finding = found(stall_within_budget(), twice)
    assert finding.verdict is Verdict.PASS, finding.message
    idle = replace(b, bytes_written=np.zeros_like(moved))
    finding = found(stall_within_budget(), replace(twice, counters=(a, idle)))
    assert finding.verdict is Verdict.FAIL, finding.message


def test_the_end_of_a_faults_time_is_computed_once_for_each_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not for each loss: a run of many faults has thousands, and each walks the timeline."""
    later: tuple[Seen, ...] = tuple((20 + n / 100, FAILED, "1") for n in range(100))
    often = watched(measured((0, 3.05), seen=(*LOSS, *RETURN, *later)))
    asked: list[str] = []

    def counted(measurements: Measurements, fault: FaultRecord, path: str) -> float:
        asked.append(path)
        return excused_until_ns(measurements, fault, path)

    monkeypatch.setattr(fault_waits, "excused_until_ns", counted)
    assert len(fault_waits.moments(often, often.faults[0])) == 1
    assert set(asked) == {"a"}
    assert len(asked) <= 3


def test_where_no_path_was_left_only_the_first_that_returns_is_waited_for() -> None:
    """I/O went on over it, and stood still until the other came back: there is no reason to."""
    both: tuple[Seen, ...] = ((3.01, FAILED, "2"), (19.5, RECOVERED, "2"), (20, REINSTATED, "2"))
    lost = watched(measured((0, 17.1), seen=LOSS + RETURN + both, io_stops=True, carries_from=17.1))
    assert found(stall_within_budget(), lost).verdict is Verdict.PASS
    again = watched(measured((0, 17.1), (17.8, 20.05), seen=LOSS + RETURN + both, io_stops=True))
    finding = found(stall_within_budget(), again)
    assert finding.verdict is Verdict.FAIL
    assert "I/O stalled 2.25 s (probe) in LinkDown(a), while no path failed" in (finding.message)
