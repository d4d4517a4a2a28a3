"""Stalls are held to budget, slack and max_stall, and the layer that took too long is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.fault_waits import stall_during, wait_after
from harness.analysis.recovery import back_ns
from harness.analysis.stall import Stall
from harness.checks import (
    Verdict,
    longest_io_within_budget,
    no_stall_beyond,
    stall_within_budget,
)
from harness.measurements import Measurements, PathStates
from harness.timeline import Timeline
from harness.units import NS_PER_MS
from suites.selftest.unit.standstill import (
    ERROR,
    FAILED,
    HEALING_CONFIRMED,
    LOSS,
    RECOVERED,
    REINSTATED,
    RETURN,
    TIMED_OUT,
    Seen,
    at,
    event,
    found,
    measured,
    stream,
    taken_apart,
    watched,
)


def test_the_layer_that_took_too_long_is_named() -> None:
    """recovery_tmo says one second, and it took eight."""
    seen = ((2.0, ERROR, "1"), (10.02, TIMED_OUT, "1"), (10.03, FAILED, "1"), *RETURN)
    finding = found(stall_within_budget(), measured((0, 10.25), seen=seen))
    assert finding.verdict is Verdict.FAIL
    assert finding.message == (
        "I/O stalled 10.25 s (probe) in LinkDown(a), 6.25 s beyond the budget of 4 s: "
        "session recovery took 8.02 s where recovery_tmo allows 1 s"
    )
    assert finding.figures["detection"].startswith("2.000 s \N{PLUS-MINUS SIGN} ")
    assert finding.numbers == pytest.approx(
        {
            "stall_s": 10.25,
            "budget_s": 4,
            "resolution_s": 0.01,
            "detection_s": 2,
            "session_recovery_s": 8.02,
            "device_mapper_s": 0.01,
            "resubmission_s": 0.22,
        }
    )
    assert finding.figures["after healing: session login"].startswith("2.000 s ")


def test_layers_that_share_a_term_are_blamed_together() -> None:
    """Neither took more than the slack alone."""
    seen = ((2.0, ERROR, "1"), (3.0, TIMED_OUT, "1"), (3.8, FAILED, "1"))
    finding = found(stall_within_budget(), measured((0, 4.7), seen=seen))
    assert finding.message.endswith(
        "700 ms beyond the budget of 4 s: "
        "device mapper and resubmission took 1.70 s where slack allows 1 s"
    )


def test_several_terms_allow_together() -> None:
    """The verb agrees with them."""
    seen = ((5.0, ERROR, "1"), (6.0, TIMED_OUT, "1"), (6.01, FAILED, "1"))
    finding = found(stall_within_budget(), measured((0, 6.1), seen=seen))
    assert finding.message.endswith(
        "detection took 5.00 s where noop_out_interval + noop_out_timeout allow 2 s"
    )


def test_a_layer_that_came_back_late_is_named() -> None:
    """With no path left, the login after healing counts."""
    seen = (*LOSS, (20.0, RECOVERED, "1"), (20.5, REINSTATED, "1"))
    late = measured((0, 20.6), seen=seen, io_stops=True, carries_from=20.6)
    finding = found(stall_within_budget(), late)
    assert finding.message.endswith("session login took 6.00 s where login_timeout allows 3 s")


def test_once_all_is_back_a_stall_has_only_the_slack() -> None:
    """It would fit the fault's budget, but nothing excuses it any more."""
    finding = found(stall_within_budget(), measured((0, 3.05), (18, 20)))
    assert (finding.verdict, finding.message) == (
        Verdict.FAIL,
        "I/O stalled 2.00 s (probe) after LinkDown(a), 1.00 s beyond the slack of 1 s",
    )


@pytest.mark.parametrize("pause", [(5, 7), (15, 17.5)])
def test_a_stall_while_a_fault_lasts_has_the_slack_if_no_path_was_given_up(
    pause: tuple[float, float],
) -> None:
    """It would fit the budget, but the surviving path has no reason to stand still."""
    finding = found(stall_within_budget(), watched(measured((0, 3.05), pause)))
    assert finding.verdict is Verdict.FAIL
    assert "in LinkDown(a), while no path failed" in finding.message
    assert "beyond the slack of 1 s" in finding.message


def test_a_stall_is_not_failed_for_want_of_the_line_that_excuses_it() -> None:
    """Records of the kernel's log were lost: the path's may be among them."""
    seen = tuple(one for one in LOSS + RETURN if one[1] is not FAILED)
    complete = watched(measured((0, 2.5), seen=seen))
    finding = found(stall_within_budget(), complete)
    assert finding.verdict is Verdict.FAIL
    gap = replace(complete, kernel_logs=(replace(complete.kernel_logs[0], lost=3),))
    finding = found(stall_within_budget(), gap)
    assert finding.verdict is Verdict.UNKNOWN
    assert "3 records of the initiator's kernel log were lost" in finding.message


def test_a_fault_that_missed_its_path_may_have_hit_the_one_that_was_waited_for() -> None:
    """A stall for which no path was lost is the storage's; so is one beside a fault that hit."""
    states = (PathStates(at(-0.5), {"a": "active", "b": "active"}),)

    def lost_another(*seen: Seen, missed: bool) -> Measurements:
        made = replace(watched(measured((5, 8), seen=seen)), path_states=states)
        first, *others = made.counters
        busy = replace(first, bytes_written=4096 * np.arange(len(first.at_ns)))
        return replace(made, counters=(busy, *others)) if missed else made

    loss = (7.9, FAILED, "2")
    for check in (stall_within_budget(), longest_io_within_budget()):
        finding = found(check, lost_another(loss, missed=True))
        assert finding.verdict is Verdict.UNKNOWN
        assert "but it may be the fault's: path a (sda) still carried " in finding.message
        assert found(check, lost_another(loss, missed=False)).verdict is Verdict.FAIL
        assert found(check, lost_another(missed=True)).verdict is Verdict.FAIL


@pytest.mark.parametrize("in_reserve", [False, True])
def test_the_loss_of_a_path_that_carried_nothing_has_no_budget(in_reserve: bool) -> None:
    """I/O had no reason to wait until it was given up: the other path stood still."""
    lost = watched(measured((0, 3.05)))
    assert found(stall_within_budget(), lost).verdict is Verdict.PASS
    if in_reserve:
        states = (PathStates(at(-1), {"a": "active", "b": "active"}, frozenset({"a"})),)
        lost = replace(lost, path_states=states)
    else:
        first, *others = lost.counters
        idle = replace(first, bytes_written=np.zeros_like(first.bytes_written))
        lost = replace(lost, counters=(idle, *others))
    finding = found(stall_within_budget(), lost)
    assert finding.verdict is Verdict.FAIL
    assert "beyond the slack of 1 s" in finding.message


def test_a_pass_is_told_by_the_stall_that_the_budget_is_for() -> None:
    """Even if another one was longer, and within the slack."""
    finding = found(stall_within_budget(), watched(measured((2.8, 3.05), (6, 6.5))))
    assert finding.verdict is Verdict.PASS
    assert finding.message.startswith("longest stall 0.250 s (probe) in LinkDown(a), budget 4.00 s")


def test_a_surviving_path_that_stands_still_again_and_again_is_found() -> None:
    """Each pause is a little shorter than the budget."""
    again = ((4, 7.9), (8, 11.9))
    finding = found(stall_within_budget(), watched(measured((0, 3.05), *again)))
    assert finding.verdict is Verdict.FAIL
    assert "I/O stalled 3.90 s" in finding.message


@pytest.mark.parametrize("lost_s", [None, -2.5, 20.0])
def test_a_path_that_came_back_before_it_was_given_up_held_its_io_until_then(
    lost_s: float | None,
) -> None:
    """Nothing was given up: the stall ended with the login, which has the budget.

    That it was given up at another time, such as for another fault, changes nothing.
    """
    seen: tuple[Seen, ...] = ((2.0, ERROR, "1"), (14.5, RECOVERED, "1"))
    if lost_s is not None:
        seen += ((lost_s, FAILED, "1"), (lost_s + 0.5, REINSTATED, "1"))
    early = watched(measured((11.5, 14.6), seen=seen, carries_from=14.6))
    assert found(stall_within_budget(), early).verdict is Verdict.PASS


def test_a_path_is_back_when_it_carries_io() -> None:
    """Else when it was reinstated; else when healing was confirmed."""
    fault = measured().faults[0]
    assert back_ns(measured(), fault) == pytest.approx(at(17.08), abs=80 * NS_PER_MS)
    assert back_ns(measured(carries_from=99), fault) == at(17)
    assert back_ns(measured(carries_from=99, seen=LOSS), fault) == at(HEALING_CONFIRMED)
    assert back_ns(replace(measured(), counters=()), fault) == at(HEALING_CONFIRMED)


def test_a_path_that_flaps_later_excuses_nothing() -> None:
    """It had come back, and went again by itself."""
    again: tuple[Seen, ...] = ((20.0, FAILED, "1"), (22.0, REINSTATED, "1"))
    flapping = measured((0, 3.05), (20, 22), seen=LOSS + RETURN + again)
    assert back_ns(flapping, flapping.faults[0]) < at(18)
    assert found(stall_within_budget(), flapping).verdict is Verdict.FAIL


def lost_one_after_the_other(first: Measurements) -> Measurements:
    """As if path b was lost 21 s after path a."""
    given_up = event(23.0, FAILED, "2")
    second = replace(
        first.faults[0],
        name="LinkDown(b)",
        paths=("b",),
        injected_ns=at(21),
        confirmed_ns=at(21.1),
        healed_ns=at(23.5),
        healing_confirmed_ns=at(23.6),
    )
    timeline = Timeline.of([*first.timeline, given_up])
    return replace(first, timeline=timeline, faults=(first.faults[0], second))


def test_a_stall_that_meets_two_losses_one_after_the_other_has_a_budget_for_each() -> None:
    """As the probe's, which has one I/O: it was sent again over a path that was lost next."""
    twice = measured((0, 7.05), seen=(*LOSS, (7.0, FAILED, "2")))
    twice = watched(replace(twice, faults=(replace(twice.faults[0], paths=("a", "b")),)))
    finding = found(stall_within_budget(), twice)
    assert finding.verdict is Verdict.PASS, finding.message
    assert finding.numbers["budget_s"] == 8
    assert "session recovery" in finding.figures
    assert found(longest_io_within_budget(), twice).verdict is Verdict.PASS
    other = replace(stream((3.6, 7.95)), name="write")
    finding = found(stall_within_budget(), replace(twice, streams=(*twice.streams, other)))
    assert finding.verdict is Verdict.FAIL
    assert finding.message == (
        "I/O stalled 4.35 s (write) in LinkDown(a), 350 ms beyond the budget of 4 s"
    )


def test_every_stall_belongs_to_one_fault_and_one_limit() -> None:
    """The next fault begins where this one's time ends."""
    both = lost_one_after_the_other(measured((0, 3.05), (17.2, 20.6), (21, 23)))
    stalls = [
        stall
        for fault in both.faults
        for stall in (stall_during(both, fault), wait_after(both, fault, Stall))
    ]
    assert [round(stall.seconds, 2) for stall in stalls if stall] == [3.05, 3.4, 2.0, 0.01]


def test_what_the_next_fault_does_is_not_told_of_this_one() -> None:
    """Nor what comes back after it."""
    later: tuple[Seen, ...] = ((22, ERROR, "2"), (23, TIMED_OUT, "2"), (23.1, FAILED, "2"))
    seen = (*LOSS, *later, (24.0, RECOVERED, "1"), (24.0, REINSTATED, "1"))
    parts = taken_apart(lost_one_after_the_other(measured((0, 3.05), seen=seen, carries_from=24)))
    assert [part.layer for part in parts.outage] == [
        "detection",
        "session recovery",
        "device mapper",
        "resubmission",
    ]
    assert parts.recovery == ()
    assert parts.missing == ("session recovered", "path reinstated", "path carries I/O")


@pytest.mark.parametrize(
    ("most_s", "verdict"), [(None, Verdict.PASS), (3.5, Verdict.PASS), (3.0, Verdict.FAIL)]
)
def test_max_stall_holds_within_the_budget(most_s: float | None, verdict: Verdict) -> None:
    """3.05 s are less than the 4 s of the settings; what took the longest is named."""
    seen = ((2.0, ERROR, "1"), (3.02, TIMED_OUT, "1"), (3.03, FAILED, "1"), *RETURN)
    demanded = replace(measured((0, 3.05), seen=seen), max_stall_s=most_s)
    finding = found(stall_within_budget(), demanded)
    assert finding.verdict is verdict
    if verdict is Verdict.FAIL:
        assert finding.message == (
            "I/O stalled 3.05 s (probe) in LinkDown(a), 50 ms beyond the max_stall of 3 s: "
            "detection took 2.00 s of it"
        )


def test_max_stall_holds_without_a_fault() -> None:
    """It is stricter than the limit of the run itself."""
    clean = replace(measured((5, 5.8)), faults=(), max_stall_s=0.5)
    assert found(no_stall_beyond(1), clean).verdict is Verdict.FAIL
    assert found(no_stall_beyond(1), replace(clean, max_stall_s=0.9)).verdict is Verdict.PASS


@pytest.mark.parametrize(("most_s", "verdict"), [(3.5, Verdict.PASS), (2.5, Verdict.FAIL)])
def test_with_no_path_left_max_stall_counts_from_healing(most_s: float, verdict: Verdict) -> None:
    """Nothing could have ended it before."""
    lost = measured((0, 17.1), io_stops=True, carries_from=17.1)
    finding = found(stall_within_budget(), replace(lost, max_stall_s=most_s))
    assert finding.verdict is verdict
    if verdict is Verdict.FAIL:
        assert finding.message.endswith(
            "500 ms beyond the max_stall of 2.5 s after healing: session login took 1.90 s of it"
        )
