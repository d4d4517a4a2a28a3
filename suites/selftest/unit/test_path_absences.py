"""Until when a fault explains that a path is lost, or out of the map."""

from __future__ import annotations

from dataclasses import replace

from harness.analysis.path_absences import unexplained_absences
from harness.checks import Verdict, no_unexpected_path_loss
from harness.timeline import Happened
from harness.units import NS_PER_S
from suites.selftest.unit.judged import found, good
from suites.selftest.unit.synthetic_failover import START
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
