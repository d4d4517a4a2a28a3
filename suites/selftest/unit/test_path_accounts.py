"""What samples and kernel log say of a path: together, one alone, and one against the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.path_accounts import disagreements
from harness.budget import Budget, BudgetTerm
from harness.checks import (
    Verdict,
    evidence_sound,
    no_unexpected_path_loss,
    paths_restored,
)
from harness.measurements import Measurements, PathStates
from harness.timeline import Event, Happened, Timeline
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import found, good
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START

FAILED, REINSTATED = Happened.PATH_FAILED, Happened.PATH_REINSTATED
Stretch = tuple[float, float]  # seconds since the beginning


def logged(measured: Measurements, *events: tuple[float, Happened, str]) -> Measurements:
    """With these in the kernel's log, by seconds since the beginning."""
    told = [
        Event(START + round(at_s * NS_PER_S), what, "initiator kernel", path, path=path)
        for at_s, what, path in events
    ]
    return replace(measured, timeline=Timeline.of([*measured.timeline, *told]))


def sampled(measured: Measurements, path: str, state: str, *stretches: Stretch) -> Measurements:
    """With a path in that state in stretches of time."""

    def states(seen: PathStates) -> PathStates:
        at_s = (seen.at_ns - START) / NS_PER_S
        inside = any(start_s <= at_s < end_s for start_s, end_s in stretches)
        return replace(seen, states={**seen.states, path: state}) if inside else seen

    return replace(measured, path_states=tuple(map(states, measured.path_states)))


def test_a_path_that_is_lost_again_once_it_was_back_is_another_loss() -> None:
    """However long the budget would have allowed to notice it; one never back is the fault's."""
    (fault,) = good().faults
    slow = Budget((*fault.budget.terms, BudgetTerm("recovery_tmo", 30, "sysfs")))
    measured = replace(good(), faults=(replace(fault, budget=slow),))
    again = sampled(logged(measured, (25.5, FAILED, "a")), "a", "failed", (25.5, 99))
    finding = found(no_unexpected_path_loss(), again)
    assert finding.verdict is Verdict.FAIL
    assert "paths failed without a fault there: a" in finding.message
    events = [e for e in again.timeline if e.what is not REINSTATED]
    never_back = replace(again, timeline=Timeline.of(events))
    assert "without a fault" not in found(no_unexpected_path_loss(), never_back).message


def test_a_path_that_is_given_up_once_more_before_it_is_back_is_the_same_loss() -> None:
    """multipathd may load a map anew: seen with ALUA groups, 0.1 s before the login."""
    seen = logged(good(), (21.0, FAILED, "a"))
    assert found(no_unexpected_path_loss(), seen).verdict is Verdict.PASS
    (fault,) = seen.faults
    for allowed_s, verdict in ((0.5, Verdict.PASS), (0.4, Verdict.FAIL)):  # it has twice that
        budget = Budget((BudgetTerm("login_timeout", allowed_s, "record"),))
        soon = replace(fault, returning=budget)
        finding = found(no_unexpected_path_loss(), replace(seen, faults=(soon,)))
        assert finding.verdict is verdict, finding.message


@pytest.mark.parametrize("confirmed_s", [20.1, 23.2])
def test_a_path_that_was_back_before_healing_was_confirmed_is_lost_anew(confirmed_s: float) -> None:
    """It was reinstated at 23.1 s, and is given up at 25. Until healing is confirmed it may be."""
    (fault,) = good().faults
    healing = replace(fault, healing_confirmed_ns=START + round(confirmed_s * NS_PER_S))
    measured = replace(good(), faults=(healing,))
    again = sampled(
        logged(measured, (25, FAILED, "a"), (27, REINSTATED, "a")), "a", "failed", (25, 27)
    )
    finding = found(no_unexpected_path_loss(), again)
    assert finding.verdict is Verdict.FAIL
    assert "paths failed without a fault there: a" in finding.message
    late = replace(healing, healing_confirmed_ns=START + round(25.1 * NS_PER_S))
    finding = found(no_unexpected_path_loss(), replace(again, faults=(late,)))
    assert finding.verdict is Verdict.PASS, finding.message


def lost(measured: Measurements) -> Measurements:
    """The path that the fault spares, for two seconds of the second phase, by both accounts."""
    measured = logged(measured, (10, FAILED, "b"), (12, REINSTATED, "b"))
    return sampled(measured, "b", "failed", (10, 12))


def test_two_accounts_of_a_failover_agree() -> None:
    """Both must have the same loss and the same return."""
    assert disagreements(good()) == []
    assert disagreements(lost(good())) == []
    assert found(no_unexpected_path_loss(), lost(good())).verdict is Verdict.FAIL


def test_a_loss_that_only_the_samples_show_is_not_known_to_be() -> None:
    """Such as on a kernel whose words for it are not known."""
    measured = sampled(good(), "b", "failed", (10, 12))
    (one,) = disagreements(measured)
    assert one.text == (
        "by the samples path b was failed for 2.0 s from 10.00 s on, by the kernel log active"
    )
    for check in (no_unexpected_path_loss(), evidence_sound()):
        finding = found(check, measured)
        assert (finding.verdict, finding.message) == (Verdict.UNKNOWN, one.text)


def test_a_loss_that_only_the_log_shows_is_not_known_to_be() -> None:
    """Of two seconds, in which there were two dozen samples."""
    measured = logged(good(), (10, FAILED, "b"), (12, REINSTATED, "b"))
    finding = found(no_unexpected_path_loss(), measured)
    assert finding.verdict is Verdict.UNKNOWN
    lost = "paths failed without a fault there: b (2023-11-14T23:36:51.000Z)"
    assert finding.message.startswith(f"{lost}; by the samples path b was")
    assert finding.message.endswith("on, by the kernel log failed")
    assert found(evidence_sound(), measured).verdict is Verdict.UNKNOWN


def test_a_loss_that_sampling_can_miss_is_one_by_the_log_alone() -> None:
    """Given up and reinstated between two samples."""
    measured = logged(good(), (10.01, FAILED, "b"), (10.02, REINSTATED, "b"))
    assert disagreements(measured) == []
    assert found(no_unexpected_path_loss(), measured).verdict is Verdict.FAIL


def test_a_single_sample_of_a_loss_wants_a_line_of_the_log() -> None:
    """The kernel gives no path up in silence."""
    measured = sampled(good(), "b", "failed", (10, 10.08))
    assert [one.path for one in disagreements(measured)] == ["b"]


def test_a_loss_that_both_show_is_one_whatever_is_unclear_elsewhere() -> None:
    """One path is lost for certain, of the other it is not known."""
    measured = sampled(lost(good()), "a", "failed", (1, 2))
    assert [one.path for one in disagreements(measured)] == ["a"]
    assert found(no_unexpected_path_loss(), measured).verdict is Verdict.FAIL


@pytest.mark.parametrize("late_ms", [-200, 200])
def test_clocks_may_run_apart_a_little(late_ms: int) -> None:
    """The log's own, and that of the samples."""
    moved = [
        replace(event, at_ns=event.at_ns + late_ms * NS_PER_MS)
        if event.what in {FAILED, REINSTATED}
        else event
        for event in lost(good()).timeline
    ]
    assert disagreements(replace(lost(good()), timeline=Timeline.of(moved))) == []


def test_a_return_that_only_one_of_them_shows_leaves_it_open() -> None:
    """Reinstated by the log, and failed to the end by the samples; and the other way round."""
    last_s = (END - START) / NS_PER_S
    by_log = sampled(good(), "a", "failed", ((HEALED - START) / NS_PER_S, last_s))
    finding = found(paths_restored(), by_log)
    assert finding.verdict is Verdict.UNKNOWN
    told = "paths not active at the end: a; but by the samples path a was failed"
    assert finding.message.startswith(told)
    events = [event for event in good().timeline if event.what is not REINSTATED]
    by_samples = replace(good(), timeline=Timeline.of(events))
    (one,) = disagreements(by_samples)
    assert "by the samples path a was active" in one.text
    assert found(evidence_sound(), by_samples).verdict is Verdict.UNKNOWN


def test_a_path_that_both_show_as_failed_at_the_end_is() -> None:
    """Whatever was unclear before."""
    events = [event for event in good().timeline if event.what is not REINSTATED]
    measured = replace(good(), timeline=Timeline.of(events))
    measured = sampled(measured, "a", "failed", (8.91, 99), (1, 2))
    assert [one.path for one in disagreements(measured)] == ["a"]
    assert found(paths_restored(), measured).verdict is Verdict.FAIL


def test_how_a_path_joins_the_map_is_not_in_the_log() -> None:
    """With another disk, at once or after a while, in whatever state."""
    gone = sampled(good(), "b", "missing", (2, 4))
    assert disagreements(gone) == []
    events = [event for event in good().timeline if event.what is not REINSTATED]
    back_ns = HEALED + 3_100 * NS_PER_MS
    at = next(n for n, seen in enumerate(good().path_states) if seen.at_ns >= back_ns)
    states = [*good().path_states]
    states[at] = replace(states[at], joined=frozenset({"a"}))
    measured = replace(good(), timeline=Timeline.of(events), path_states=tuple(states))
    assert disagreements(measured) == []


def test_a_map_that_is_loaded_anew_has_its_dead_paths_active_for_a_moment() -> None:
    """Until multipathd fails them again."""
    again_s = (INJECTED - START) / NS_PER_S + 8
    measured = logged(good(), (again_s, FAILED, "a"))
    measured = sampled(measured, "a", "active", (again_s - 0.2, again_s))
    assert disagreements(measured) == []


def test_a_path_that_is_failed_twice_was_active_in_between_for_any_time() -> None:
    """On a busy host multipathd took 1.1 s to fail the dead path of a map that was loaded anew."""
    seen = sampled(good(), "a", "active", (9, 10.8))
    assert "path a was active" in disagreements(seen)[0].text
    assert disagreements(logged(seen, (10.8, FAILED, "a"))) == []


def test_gaps_in_the_targets_log_excuse_nothing() -> None:
    """It says nothing of paths."""
    measured = sampled(good(), "b", "failed", (10, 12))
    log, target = measured.kernel_logs
    gaps = replace(measured, kernel_logs=(log, replace(target, lost=1)))
    assert [one.path for one in disagreements(gaps)] == ["b"]


def test_without_a_log_or_samples_there_are_no_two_accounts() -> None:
    """That they are missing is for others to say."""
    measured = sampled(good(), "b", "failed", (10, 12))
    assert disagreements(replace(measured, kernel_logs=())) == []
    log, target = measured.kernel_logs
    assert disagreements(replace(measured, kernel_logs=(replace(log, lost=1), target))) == []
    assert disagreements(replace(measured, kernel_logs=(target,))) == []
    assert disagreements(replace(measured, path_states=())) == []


@pytest.mark.parametrize(
    ("stretch", "verdict"),
    [((2, 4), Verdict.FAIL), ((10, 12), Verdict.FAIL), ((2, 2.4), Verdict.UNKNOWN)],
)
def test_a_path_that_leaves_the_map_without_a_fault_is_lost(
    stretch: Stretch, verdict: Verdict
) -> None:
    """Before every fault, or while another path has one; for a moment it may only seem so."""
    finding = found(no_unexpected_path_loss(), sampled(good(), "b", "missing", stretch))
    assert finding.verdict is verdict
    assert finding.message.startswith("not in use without a fault there: path b was missing for")


def test_a_path_may_leave_the_map_by_a_fault() -> None:
    """It may stay away until it is back. It may not have left before, or leave later."""
    injected_s, healed_s = ((ns - START) / NS_PER_S for ns in (INJECTED, HEALED))
    for stretch, verdict in (
        ((injected_s + 2, healed_s + 5), Verdict.PASS),
        ((injected_s - 2, healed_s + 3), Verdict.FAIL),
        ((healed_s + 5, 99), Verdict.FAIL),
    ):
        measured = sampled(good(), "a", "missing", stretch)
        assert found(no_unexpected_path_loss(), measured).verdict is verdict, stretch


def test_what_was_out_of_the_map_before_the_fault_counts_until_then() -> None:
    """What follows may be the fault's."""
    injected_s = (INJECTED - START) / NS_PER_S
    measured = sampled(good(), "a", "missing", (injected_s - 0.3, injected_s + 9))
    finding = found(no_unexpected_path_loss(), measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert "a was missing for 0.2 s from 5.76 s on" in finding.message


@pytest.mark.parametrize("state", ["missing", "failed"])
def test_a_path_that_was_never_in_use_is_not_known_to_be_lost(state: str) -> None:
    """It may be there under another name, or was lost before; one that is back was lost."""
    measured = sampled(good(), "b", state, (0, 99))
    assert found(no_unexpected_path_loss(), measured).verdict is Verdict.UNKNOWN
    back = sampled(logged(good(), (3, REINSTATED, "b")), "b", state, (0, 3))
    assert found(no_unexpected_path_loss(), back).verdict is Verdict.FAIL


def test_a_path_is_not_lost_between_samples_that_are_far_apart() -> None:
    """Two of them, however long from one to the other."""
    measured = sampled(good(), "b", "missing", (10, 12))
    few = [s for s in measured.path_states if not 10.05 < (s.at_ns - START) / NS_PER_S < 11.9]
    finding = found(no_unexpected_path_loss(), replace(measured, path_states=tuple(few)))
    assert finding.verdict is Verdict.UNKNOWN


def test_an_absence_of_a_path_whose_accounts_differ_is_not_sure() -> None:
    """The samples have it failed from the beginning; of its return the log says nothing."""
    finding = found(no_unexpected_path_loss(), sampled(good(), "b", "failed", (0, 3)))
    assert finding.verdict is Verdict.UNKNOWN
    assert "by the kernel log failed" in finding.message
