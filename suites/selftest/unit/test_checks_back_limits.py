"""Paths that are lost, late or slower, at the very limits of what is allowed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.confidence import Limits
from harness.checks import (
    Verdict,
    data_intact,
    each_path_as_good_as_before,
    no_unexpected_path_loss,
    path_latency,
    redundancy_back_in_time,
)
from harness.measurements import Found, Measurements
from harness.timeline import Event, Happened, Phase, Timeline
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import busy_host, found, good
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START
from suites.selftest.unit.test_checks_limits import latencies
from suites.selftest.unit.test_checks_paths import given_up_twice
from suites.selftest.unit.test_checks_reserve import in_reserve
from suites.selftest.unit.test_redundancy import back_after

REDUNDANCY = redundancy_back_in_time()


def test_three_stretches_of_io_are_too_few_to_compare_a_path() -> None:
    """Of half a second each."""
    before, during, after = good().phases
    short = replace(after, end_ns=HEALED + 17 * NS_PER_S // 10)
    finding = found(each_path_as_good_as_before(2), replace(good(), phases=(before, during, short)))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.numbers == {}


def test_a_path_is_slower_for_sure_only_beyond_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one that became faster is no measure."""
    measured = latencies(10, a=21, b=5)
    for low, verdict in ((2.0, Verdict.UNKNOWN), (2.001, Verdict.FAIL)):
        limits = Limits(low, 3.0)
        monkeypatch.setattr(path_latency, "ratio_of_means", lambda *_, limits=limits: limits)
        finding = found(each_path_as_good_as_before(2), measured)
        assert finding.verdict is verdict, finding.message


def with_loss(at_ns: int, path: str = "a") -> Measurements:
    """That path is given up then, too, and is back at once."""
    measured = good()
    lost = Event(at_ns, Happened.PATH_FAILED, "initiator kernel", path, path=path)
    back = Event(at_ns + NS_PER_S // 100, Happened.PATH_REINSTATED, "kernel", path, path=path)
    return replace(measured, timeline=Timeline.of([*measured.timeline, lost, back]))


def test_lost_paths_are_told_and_which_of_them_no_fault_explains() -> None:
    lost = found(no_unexpected_path_loss(), good())
    assert lost.figures == {
        "failed paths": "a",
        "of these unexpected": "none",
        "out of the map unexpectedly": "0",
    }
    other = found(no_unexpected_path_loss(), with_loss(INJECTED + NS_PER_S, "b")).figures
    assert (other["failed paths"], other["of these unexpected"]) == ("b, a", "b")
    twice = found(no_unexpected_path_loss(), given_up_twice(good())).figures
    assert twice["failed paths"] == "a (2 times)"
    whole = replace(good(), timeline=Timeline(()), faults=())
    states = tuple(
        replace(seen, states=dict.fromkeys(seen.states, "active")) for seen in whole.path_states
    )
    none = found(no_unexpected_path_loss(), replace(whole, path_states=states)).figures
    assert none["failed paths"] == "none"


@pytest.mark.parametrize(("beyond_ns", "told"), [(0, "none"), (1, "a")])
def test_a_fault_explains_a_loss_until_its_path_is_back(beyond_ns: int, told: str) -> None:
    back_ns = next(e.at_ns for e in good().timeline if e.what is Happened.PATH_REINSTATED)
    figures = found(no_unexpected_path_loss(), with_loss(back_ns + beyond_ns)).figures
    assert figures["of these unexpected"] == told


def test_a_path_that_was_in_reserve_at_first_need_not_be_looked_over() -> None:
    """Though the phase before the fault was too short for a look over each path."""
    measured = good()
    history = measured.history
    assert history is not None
    looks = history.looks
    over_b = looks.place == looks.places.index("b")
    unseen = replace(looks, found=np.where(over_b, Found.NO_ANSWER, looks.found))
    _, *later = measured.phases
    short = Phase("before", INJECTED - 3 * NS_PER_S // 2, INJECTED)
    measured = replace(measured, history=replace(history, looks=unseen), phases=(short, *later))
    said = "the sweep saw nothing over path b in phase "
    assert said in found(data_intact(), measured).message
    reserve = in_reserve(measured, "b", lambda at_ns: at_ns <= INJECTED)
    assert said not in found(data_intact(), reserve).message


def test_a_path_that_is_late_by_what_the_host_took_is_not_the_storages() -> None:
    """Half a second, both."""
    busy = busy_host(0.5, start_ns=HEALED, end_ns=HEALED + NS_PER_S)
    finding = found(REDUNDANCY, replace(back_after(6.5, 3), processors=busy))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith("the host gave the machines no processor for 0.500 s of it")


def test_a_path_that_is_late_by_what_nobody_saw_may_have_been_back() -> None:
    """Two seconds, both."""
    late = back_after(6.5, 2.25)
    first, *others = late.watching
    at_ns = np.arange(START, END, 100 * NS_PER_MS, dtype=np.int64)
    at_ns = at_ns[(at_ns <= HEALED + NS_PER_S) | (at_ns >= HEALED + 3 * NS_PER_S)]
    gap = replace(first, at_ns=at_ns, wall_ahead_ns=at_ns * 0, cpu_ns=at_ns // 50)
    finding = found(REDUNDANCY, replace(late, watching=(gap, *others)))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith("no sample was taken for 2.0 s of it")


def test_a_path_is_late_by_a_nanosecond() -> None:
    """Also where no machine was watched, so that there was no gap."""
    late = replace(back_after(1e-9, 0), watching=())
    assert found(REDUNDANCY, late).verdict is Verdict.FAIL
