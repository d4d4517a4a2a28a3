"""Until when one more loss would have stopped all I/O."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.budget import Budget, BudgetTerm
from harness.checks import Verdict, redundancy_back_in_time
from harness.measurements import KernelLog, Measurements
from harness.timeline import Event, Happened, Timeline
from harness.units import NS_PER_S
from suites.selftest.unit.judged import busy_host, found, good, not_sampled
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED

CHECK = redundancy_back_in_time()


def back_after(seconds: float, allowed_s: float, *, logged: bool = True) -> Measurements:
    """Path a is usable again so long after healing, by the samples and, if it is, by the log."""
    measured = good()
    back_ns = HEALED + int(seconds * NS_PER_S)
    events = [e for e in measured.timeline if e.what is not Happened.PATH_REINSTATED]
    if logged:
        events.append(Event(back_ns, Happened.PATH_REINSTATED, "kernel", "a", path="a"))
    (fault,) = measured.faults
    allowed = Budget((BudgetTerm("login_timeout", allowed_s, "record"),))
    states = tuple(
        replace(seen, states={**seen.states, "a": "failed"})
        if INJECTED + 3 * NS_PER_S < seen.at_ns < back_ns
        else replace(seen, states={**seen.states, "a": "active"})
        for seen in measured.path_states
    )
    return replace(
        measured,
        timeline=Timeline.of(events),
        path_states=states,
        faults=(replace(fault, returning=allowed),),
    )


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize(
    ("allowed_s", "verdict"), [(7, Verdict.PASS), (4, Verdict.PASS), (3, Verdict.FAIL)]
)
def test_a_path_that_is_back_late_fails(allowed_s: float, verdict: Verdict, logged: bool) -> None:
    """It was back after 6.5 s; what programs take besides is no timer, so twice the budget."""
    finding = found(CHECK, back_after(6.5, allowed_s, logged=logged))
    assert finding.verdict is verdict, finding.message
    assert finding.numbers["back_after_a_s"] == pytest.approx(6.5, abs=0.1)
    if verdict is Verdict.FAIL:
        assert "path a was back 6.5" in finding.message
        assert "ms beyond twice the budget of 3.00 s (login_timeout 3)" in finding.message


def test_a_path_that_is_not_back_fails_once_its_time_is_over() -> None:
    """Nine seconds of I/O after healing: too few for an allowance of 5 s, enough for one of 4 s."""
    never = (END - HEALED) / NS_PER_S + 1
    finding = found(CHECK, back_after(never, 4))
    assert finding.verdict is Verdict.FAIL
    assert "path a was not back 9.00 s after SilentDrop(a) was healed" in finding.message
    assert found(CHECK, back_after(never, 5)).verdict is Verdict.UNKNOWN


def test_time_without_a_processor_is_not_the_storages() -> None:
    """A quarter of the 6.5 s, which is more than what is beyond the budget."""
    late = back_after(6.5, 3)
    busy = replace(late, processors=busy_host(0.25, start_ns=HEALED))
    assert found(CHECK, busy).verdict is Verdict.UNKNOWN
    little = replace(late, processors=busy_host(0.05, start_ns=HEALED))
    assert found(CHECK, little).verdict is Verdict.FAIL


def test_time_without_samples_may_hide_a_return() -> None:
    """Three seconds are more than what is beyond the budget; one and a half are not."""
    late = back_after(6.5, 2)
    for seconds, verdict in ((3, Verdict.UNKNOWN), (1.5, Verdict.FAIL)):
        gap_ns = int(seconds * NS_PER_S)
        finding = found(CHECK, not_sampled(late, HEALED + NS_PER_S, HEALED + NS_PER_S + gap_ns))
        assert finding.verdict is verdict, finding.message
        assert ("no sample was taken for 3" in finding.message) is (verdict is Verdict.UNKNOWN)
    before = not_sampled(late, INJECTED, INJECTED + 3 * NS_PER_S)
    assert found(CHECK, before).verdict is Verdict.FAIL


def test_a_path_that_was_never_given_up_need_not_come_back() -> None:
    """The fault was too short for it."""
    measured = back_after(0, 3)
    events = [e for e in measured.timeline if e.what is not Happened.PATH_FAILED]
    states = tuple(
        replace(seen, states=dict.fromkeys(seen.states, "active")) for seen in measured.path_states
    )
    kept = replace(measured, timeline=Timeline.of(events), path_states=states)
    finding = found(CHECK, kept)
    assert (finding.verdict, finding.message) == (
        Verdict.PASS,
        "SilentDrop(a): no path failed",
    )


def test_without_a_limit_or_a_fault_it_is_open() -> None:
    assert found(CHECK, back_after(3, float("inf"))).verdict is Verdict.UNKNOWN
    assert found(CHECK, replace(good(), faults=())).verdict is Verdict.UNKNOWN


def unseen_to_fail(state: str, until_s: float = 0.0) -> Measurements:
    """The kernel's log has no line of path a, and samples show that state of it for a time."""
    measured = back_after(0, 3)
    about = {Happened.PATH_FAILED, Happened.PATH_REINSTATED}
    states = tuple(
        replace(seen, states={"a": state, "b": "active"})
        if INJECTED + NS_PER_S < seen.at_ns < HEALED + until_s * NS_PER_S
        else replace(seen, states={"a": "active", "b": "active"})
        for seen in measured.path_states
    )
    events = [e for e in measured.timeline if e.what not in about]
    return replace(measured, timeline=Timeline.of(events), path_states=states)


@pytest.mark.parametrize("state", ["failed", "missing"])
def test_a_path_that_leaves_the_map_has_to_come_back(state: str) -> None:
    """The kernel logs nothing of that; it is out of use for 6.5 s after healing."""
    finding = found(CHECK, unseen_to_fail(state, 6.5))
    assert finding.verdict is Verdict.FAIL, finding.message
    assert finding.numbers["back_after_a_s"] == pytest.approx(6.5, abs=0.1)


def test_a_path_that_leaves_the_map_after_healing_has_to_come_back() -> None:
    """Its timers were not over yet: the fault explains it until its budget is over."""
    measured = unseen_to_fail("active")
    (fault,) = measured.faults
    early = replace(
        fault, healed_ns=INJECTED + NS_PER_S, healing_confirmed_ns=INJECTED + 2 * NS_PER_S
    )
    states = tuple(
        replace(seen, states={"b": "active"}) if seen.at_ns > INJECTED + 3 * NS_PER_S else seen
        for seen in measured.path_states
    )
    finding = found(CHECK, replace(measured, faults=(early,), path_states=states))
    assert finding.verdict is Verdict.FAIL, finding.message
    assert "path a was not back" in finding.message


def test_no_path_was_given_up_only_if_that_was_seen() -> None:
    """By a log without gaps, by samples, and with something measured of each path."""
    kept = unseen_to_fail("active")
    assert found(CHECK, kept).verdict is Verdict.PASS
    finding = found(CHECK, replace(kept, path_states=()))
    assert finding.verdict is Verdict.UNKNOWN
    assert "states of the paths were not sampled" in finding.message
    lost = (KernelLog("initiator", (), lost=3), kept.kernel_logs[1])
    assert found(CHECK, replace(kept, kernel_logs=lost)).verdict is Verdict.UNKNOWN
    assert found(CHECK, replace(kept, counters=kept.counters[1:])).verdict is Verdict.UNKNOWN
    (fault,) = kept.faults
    elsewhere = replace(kept, path_states=(), faults=(replace(fault, paths=()),))
    assert found(CHECK, elsewhere).verdict is Verdict.PASS


def test_a_path_that_fails_again_once_it_was_back_is_not_back() -> None:
    """The kernel took it back after 2 s, and samples show it failed from 4 s on."""
    measured = back_after(2, 3)
    states = tuple(
        replace(seen, states={"a": "failed", "b": "active"})
        if seen.at_ns > HEALED + 4 * NS_PER_S
        else seen
        for seen in measured.path_states
    )
    finding = found(CHECK, replace(measured, path_states=states))
    assert finding.verdict is Verdict.FAIL, finding.message
    assert "path a was not back 9.00 s" in finding.message
    little = replace(
        measured,
        path_states=tuple(
            replace(seen, states={"a": "failed", "b": "active"})
            if HEALED + 2 * NS_PER_S < seen.at_ns < HEALED + 2.4 * NS_PER_S
            else seen
            for seen in measured.path_states
        ),
    )
    assert found(CHECK, little).numbers["back_after_a_s"] == pytest.approx(2)


def test_a_path_that_is_not_back_when_the_next_fault_begins_is_open() -> None:
    """The message names both reasons for which the look at it ended."""
    never = (END - HEALED) / NS_PER_S + 1
    finding = found(CHECK, back_after(never, 5))
    assert finding.message.endswith("when I/O ended or the next fault began")
