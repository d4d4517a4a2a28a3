"""A path that was in reserve, or may have been, carried nothing anyway: it must be seen to fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.checks import Verdict, fault_took_effect
from harness.measurements import Measurements
from harness.units import NS_PER_S
from suites.selftest.unit.judged import carrying, found, good, with_counters
from suites.selftest.unit.synthetic_failover import END, INJECTED, START

CONFIRMED = good().faults[0].confirmed_ns


def idle(path: str, reserve: set[str], *, fails: bool = False) -> Measurements:
    """The fault hits a path that carries nothing at any time, and is seen to fail or is not."""
    measured = with_counters(good(), path, lambda c: carrying(c, START, END, 0))
    looks = (
        replace(
            look,
            reserve=frozenset(reserve),
            states=look.states if fails else dict.fromkeys(look.states, "active"),
        )
        for look in measured.path_states
    )
    return replace(measured, path_states=tuple(looks))


def unseen(measured: Measurements, start_ns: int, end_ns: int) -> Measurements:
    """Nobody looked in a stretch of time."""
    looks = (look for look in measured.path_states if not start_ns <= look.at_ns <= end_ns)
    return replace(measured, path_states=tuple(looks))


def test_a_path_in_reserve_may_not_have_been_hit_whenever_it_was_looked_at() -> None:
    """The last look before the fault tells; there need be none until it is confirmed."""
    seldom = unseen(idle("a", {"a"}), INJECTED, CONFIRMED)
    finding = found(fault_took_effect(), seldom)
    assert finding.verdict is Verdict.UNKNOWN
    assert "path a (sda) was in reserve, and not seen to fail" in finding.message
    failed = unseen(idle("a", {"a"}, fails=True), INJECTED, CONFIRMED)
    assert found(fault_took_effect(), failed).verdict is Verdict.PASS


@pytest.mark.parametrize("reserve", [set(), {"a"}])
def test_a_path_that_nobody_looked_at_may_have_been_in_reserve(reserve: set[str]) -> None:
    """Without a look in the second before the fault, or with such that have no group in use."""
    before = INJECTED - NS_PER_S, INJECTED + NS_PER_S
    measured = idle("a", reserve)
    no_group = tuple(
        replace(look, reserve=None) if before[0] <= look.at_ns <= before[1] else look
        for look in measured.path_states
    )
    for blind in (unseen(measured, *before), replace(measured, path_states=no_group)):
        finding = found(fault_took_effect(), with_a_share(blind))
        assert finding.verdict is Verdict.UNKNOWN
        assert "path a (sda) may have been in reserve" in finding.message
    failed = with_a_share(unseen(idle("a", reserve, fails=True), *before))
    assert found(fault_took_effect(), failed).verdict is Verdict.PASS


def with_a_share(measured: Measurements) -> Measurements:
    """Path a carried something before, some seconds before the fault."""
    until_ns = INJECTED - 2 * NS_PER_S
    return with_counters(measured, "a", lambda c: carrying(c, START, until_ns, 1_000_000))
