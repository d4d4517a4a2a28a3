"""Paths in reserve: they take over, and are in reserve again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.checks import (
    Verdict,
    fault_took_effect,
    load_shared_again,
    paths_restored,
)
from harness.measurements import Measurements
from harness.units import NS_PER_S
from suites.selftest.unit.judged import carrying, found, good, with_counters
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START


def in_reserve(
    measured: Measurements, path: str, when: Callable[[int], bool] = lambda _: True
) -> Measurements:
    """With a path in a group that is not in use, at those moments."""
    states = tuple(
        replace(seen, reserve=frozenset({path} if when(seen.at_ns) else ()))
        for seen in measured.path_states
    )
    return replace(measured, path_states=states)


def test_a_path_in_reserve_takes_over_and_is_in_reserve_again() -> None:
    """As with ALUA: it carries nothing but while the preferred one is lost."""
    measured = in_reserve(good(), "b", lambda at_ns: not INJECTED < at_ns < HEALED)
    measured = with_counters(measured, "b", lambda c: carrying(c, START, INJECTED, 0))
    measured = with_counters(measured, "b", lambda c: carrying(c, HEALED, END, 0))
    assert found(fault_took_effect(), measured).verdict is Verdict.PASS
    finding = found(paths_restored(), measured)
    assert (finding.verdict, finding.message) == (
        Verdict.PASS,
        "every path is active; b in reserve",
    )
    assert found(fault_took_effect(), in_reserve(measured, "")).verdict is Verdict.UNKNOWN
    assert found(paths_restored(), in_reserve(measured, "")).verdict is Verdict.FAIL


@pytest.mark.parametrize("used_at_end", [False, True])
def test_a_reserve_that_stays_in_use_fails(used_at_end: bool) -> None:
    """As where a target makes the other group optimized, too: both paths share the load."""

    def kept_back(at_ns: int) -> bool:
        return at_ns <= INJECTED or (at_ns >= HEALED and not used_at_end)

    measured = in_reserve(good(), "b", kept_back)
    measured = with_counters(measured, "b", lambda c: carrying(c, START, INJECTED, 0))
    finding = found(load_shared_again(0.3), measured)
    assert (finding.verdict is Verdict.FAIL) == used_at_end, finding.message
    assert ("path b was in reserve before the fault" in finding.message) == used_at_end


def test_a_path_in_reserve_that_is_lost_must_be_seen_to_fail() -> None:
    """That it carries nothing is no sign."""
    measured = in_reserve(good(), "a")
    measured = with_counters(measured, "a", lambda c: carrying(c, START, END, 0))
    assert found(fault_took_effect(), measured).verdict is Verdict.PASS
    healthy = tuple(
        replace(seen, states=dict.fromkeys(seen.states, "active")) for seen in measured.path_states
    )
    finding = found(fault_took_effect(), replace(measured, path_states=healthy))
    assert finding.verdict is Verdict.UNKNOWN
    assert "path a (sda) was in reserve, and not seen to fail" in finding.message


def test_a_reserve_that_stays_in_reserve_fails() -> None:
    """While nothing else carries I/O."""
    measured = in_reserve(good(), "b")
    measured = with_counters(measured, "b", lambda c: carrying(c, INJECTED, HEALED, 0))
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.FAIL
    assert "path b (sdb) did not take over" in finding.message


def with_looks(measured: Measurements, *at_ns: int) -> Measurements:
    """With looks at these times in which no group of the map was in use."""
    looks = [seen.at_ns for seen in measured.path_states]
    times = {looks[bisect_left(looks, each)] for each in at_ns}
    states = (
        replace(seen, reserve=None) if seen.at_ns in times else seen
        for seen in measured.path_states
    )
    return replace(measured, path_states=tuple(states))


def test_a_look_without_a_group_in_use_takes_no_path_out_of_reserve() -> None:
    """As of a map that was just loaded. If all looks are so, nothing is known of a reserve."""
    idle = with_counters(good(), "b", lambda c: carrying(c, START, END, 0))
    measured = in_reserve(idle, "b")
    seldom = with_looks(measured, INJECTED - NS_PER_S, INJECTED + 5 * NS_PER_S, END - NS_PER_S)
    assert seldom.path_states != measured.path_states
    for check, verdict in (
        (paths_restored(), Verdict.PASS),
        (fault_took_effect(), Verdict.FAIL),
        (load_shared_again(0.5), Verdict.PASS),
    ):
        assert found(check, measured).verdict is verdict
        assert found(check, seldom) == found(check, measured)
    never = with_looks(measured, *(seen.at_ns for seen in measured.path_states))
    for check in (paths_restored(), load_shared_again(0.5)):
        finding = found(check, never)
        assert finding.verdict is Verdict.UNKNOWN, finding.message
        assert "it is not known which group" in finding.message


def test_what_carries_io_is_restored_whatever_the_groups_are() -> None:
    """A path that carried nothing is the only one of which they have to be known."""
    measured = good()
    never = with_looks(measured, *(seen.at_ns for seen in measured.path_states))
    assert found(paths_restored(), never).verdict is Verdict.PASS


def test_a_reserve_is_not_back_where_nobody_saw_the_groups_at_the_end() -> None:
    """No look of the last second shows a group in use; without a reserve none need to."""
    measured = in_reserve(good(), "b", lambda at_ns: at_ns <= INJECTED)
    measured = with_counters(measured, "b", lambda c: carrying(c, START, INJECTED, 0))
    assert found(load_shared_again(0.3), measured).verdict is Verdict.FAIL
    last = [seen.at_ns for seen in measured.path_states if seen.at_ns >= END - NS_PER_S]
    finding = found(load_shared_again(0.3), with_looks(measured, *last))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == "it is not known which group of paths was in use"
    shared = with_looks(good(), *last)
    assert found(load_shared_again(0.3), shared).verdict is Verdict.PASS
