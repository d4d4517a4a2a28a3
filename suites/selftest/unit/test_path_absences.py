"""Until when a fault explains that a path is lost, or out of the map."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.path_absences import unexplained_absences
from harness.checks import Verdict, no_unexpected_path_loss
from harness.measurements import Measurements
from harness.timeline import Happened, Timeline
from harness.units import NS_PER_S
from suites.selftest.unit.judged import carrying, found, good, with_counters
from suites.selftest.unit.synthetic_failover import END, HEALED, START
from suites.selftest.unit.test_path_accounts import logged, sampled

FAILED, REINSTATED = Happened.PATH_FAILED, Happened.PATH_REINSTATED


def test_a_path_that_was_back_before_the_order_to_heal_returned_is_lost_anew() -> None:
    """The order was given at 20 s, and returned at 23.3 s; the path was reinstated at 23.1 s."""
    (fault,) = good().faults
    returned_ns = START + 233 * NS_PER_S // 10
    slow = replace(fault, healed_ns=returned_ns, healing_confirmed_ns=returned_ns + 1)
    again = logged(good(), (25, FAILED, "a"), (27, REINSTATED, "a"))
    again = sampled(again, "a", "failed", (25, 27))
    for healing, verdict in ((fault.healed_ns, Verdict.FAIL), (slow.healed_ns, Verdict.PASS)):
        ordered = replace(again, faults=(replace(slow, healing_ns=healing),))
        finding = found(no_unexpected_path_loss(), ordered)
        assert finding.verdict is verdict, finding.message


def test_a_path_may_leave_the_map_once_more_until_it_is_back() -> None:
    """After healing the map is loaded anew, and shows the dead path for a moment."""
    anew = sampled(logged(good(), (21.2, FAILED, "a")), "a", "active", (21.0, 21.2))
    gone = sampled(anew, "a", "missing", (21.2, 23.1))
    assert unexplained_absences(gone) == []
    assert found(no_unexpected_path_loss(), gone).verdict is Verdict.PASS
    later = sampled(gone, "a", "missing", (23.5, 25))
    assert [one.start_ns // NS_PER_S for one in unexplained_absences(later)] == [
        (START + 23 * NS_PER_S) // NS_PER_S
    ]
    assert found(no_unexpected_path_loss(), later).verdict is Verdict.FAIL


def joins_again(measured: Measurements) -> Measurements:
    """Path a was given up, left the map, and is in it on another disk from 23.1 s on."""
    events = [e for e in measured.timeline if e.what is not REINSTATED]
    gone = sampled(replace(measured, timeline=Timeline.of(events)), "a", "missing", (9, 23.1))
    back = next(n for n, s in enumerate(gone.path_states) if s.at_ns >= START + 23.1 * NS_PER_S)
    states = list(gone.path_states)
    states[back] = replace(states[back], joined=frozenset({"a"}))
    return replace(gone, path_states=tuple(states))


def test_a_path_that_joined_the_map_again_is_back_and_its_next_loss_is_new() -> None:
    """The kernel logs nothing of a disk that joins. It may take 86 s to come back."""
    once = joins_again(good())
    assert found(no_unexpected_path_loss(), once).verdict is Verdict.PASS
    for again in (
        sampled(once, "a", "missing", (26.1, 99)),
        sampled(logged(once, (26.1, FAILED, "a")), "a", "failed", (26.1, 99)),
    ):
        finding = found(no_unexpected_path_loss(), again)
        assert finding.verdict is Verdict.FAIL, finding.message


@pytest.mark.parametrize("carried", [0, 4096])
def test_a_dead_path_that_a_new_map_has_is_not_back(carried: int) -> None:
    """It is active for a moment only, or carries nothing."""
    moment = sampled(logged(joins_again(good()), (23.5, FAILED, "a")), "a", "failed", (23.5, 99))
    longer = sampled(logged(joins_again(good()), (26.1, FAILED, "a")), "a", "failed", (26.1, 99))
    idle = with_counters(longer, "a", lambda c: carrying(c, HEALED, END, carried))
    assert found(no_unexpected_path_loss(), moment).verdict is Verdict.PASS
    assert found(no_unexpected_path_loss(), idle).verdict is (
        Verdict.FAIL if carried else Verdict.PASS
    )


def test_a_path_may_leave_the_map_before_its_fault_as_far_as_clocks_tell() -> None:
    """One look was that early by the clock of its machine."""
    (fault,) = good().faults
    early = sampled(good(), "a", "missing", (5.9, 23.1))
    (before,) = [s.at_ns for s in early.path_states if START + 5.9e9 < s.at_ns < fault.injected_ns]
    known_ns = fault.injected_ns - before
    for beyond_ns, absences in ((0, 0), (1, 1)):
        clock = replace(early.clocks[0], uncertainty_ns=known_ns - beyond_ns)
        assert len(unexplained_absences(replace(early, clocks=(clock,)))) == absences
