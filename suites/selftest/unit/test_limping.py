"""Paths that go on while a fault hits them, but worse: what that excuses, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.path_absences import excused_until_ns
from harness.budget import Budget, BudgetTerm
from harness.checks import (
    Check,
    Verdict,
    latency_held,
    longest_io_within_budget,
    no_unexpected_path_loss,
    stall_within_budget,
    stalls_together_within_budget,
    throughput_held,
)
from harness.measurements import Measurements
from harness.timeline import Event, Happened, Timeline
from harness.units import NS_PER_S
from suites.selftest.unit import standstill
from suites.selftest.unit.judged import found, good
from suites.selftest.unit.standstill import HEALING_CONFIRMED
from suites.selftest.unit.synthetic_failover import HEALED as HEALED_NS


def limping(measured: Measurements) -> Measurements:
    """The same, as if the paths of its fault had gone on."""
    (fault,) = measured.faults
    return replace(measured, faults=(replace(fault, limping=fault.paths),))


# Path a is given up at 3 s; I/O also stands still later, when no path is given up.
LATER = standstill.measured((0.0, 3.1), (6.0, 9.5))


@pytest.mark.parametrize("check", [stall_within_budget(), longest_io_within_budget()])
def test_io_may_wait_for_a_path_that_goes_on_at_any_time(check: Check) -> None:
    """For as long as the budget allows; under a loss it has the slack then."""
    lost = found(check, LATER)
    assert lost.verdict is not Verdict.PASS
    assert "3.50 s" in lost.message
    assert "beyond the slack of 1 s" in lost.message
    assert found(check, limping(LATER)).verdict is Verdict.PASS
    too_long = limping(standstill.measured((0.0, 3.1), (6.0, 10.5)))
    finding = found(check, too_long)
    assert finding.verdict is Verdict.FAIL
    assert "beyond the budget of 4 s" in finding.message


def test_once_its_paths_are_back_a_fault_excuses_nothing() -> None:
    """Whether they went on or not."""
    late = limping(standstill.measured((0.0, 3.1), (20.0, 23.0)))
    assert found(stall_within_budget(), late).verdict is Verdict.FAIL


def test_all_waits_together_may_take_as_long_as_the_fault_lasts() -> None:
    """The map sends I/O over such a path again and again."""
    often = standstill.measured((0.0, 3.1), (4.0, 6.0), (7.0, 9.0))
    assert found(stalls_together_within_budget(), often).verdict is Verdict.FAIL
    finding = found(stalls_together_within_budget(), limping(often))
    assert finding.verdict is Verdict.PASS
    assert f"{HEALING_CONFIRMED:.2f} s for which it was felt, and budget 4.00 s" in finding.message
    assert finding.numbers["budget_s"] == pytest.approx(HEALING_CONFIRMED + 4)


@pytest.mark.parametrize("check", [throughput_held(at_least=0.9), latency_held(at_most=5)])
def test_the_load_is_not_compared_while_a_path_goes_on(check: Check) -> None:
    """It waits for what is sent over that path."""
    finding = found(check, limping(good()))
    assert finding.verdict is Verdict.PASS
    assert "there is nothing to compare" in finding.message


def given_up_again(after_healing_s: float) -> Measurements:
    at_ns = HEALED_NS + int(after_healing_s * NS_PER_S)
    again = Event(at_ns, Happened.PATH_FAILED, "initiator", "a", path="a")
    back = Event(at_ns + NS_PER_S // 10, Happened.PATH_REINSTATED, "initiator", "a", path="a")
    events = (
        e for e in good().timeline if e.what not in {Happened.PATH_FAILED, Happened.PATH_REINSTATED}
    )
    return replace(good(), timeline=Timeline.of([*events, again, back]))


def test_what_began_at_the_end_of_the_fault_may_lose_its_path_a_little_later() -> None:
    """It takes as long as after a loss until the path is given up."""
    soon, late = given_up_again(3.0), given_up_again(6.0)
    (fault,) = soon.faults
    assert excused_until_ns(soon, fault, "a") < HEALED_NS + 3 * NS_PER_S
    assert "a" in found(no_unexpected_path_loss(), soon).message
    assert found(no_unexpected_path_loss(), limping(soon)).numbers["unexpected"] == 0
    short = Budget((BudgetTerm("login_timeout", 1, "record"),))
    (fault,) = late.faults
    late = replace(late, faults=(replace(fault, returning=short),))
    assert found(no_unexpected_path_loss(), limping(late)).numbers["unexpected"] == 1
