"""Each path must be as good after healing as it was before, by its own figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.checks import Verdict, each_path_as_good_as_before
from harness.measurements import Measurements, PathCounters, PathStates
from suites.selftest.unit.judged import busy_host, found, good, with_counters
from suites.selftest.unit.synthetic_failover import HEALED, START

CHECK = each_path_as_good_as_before(at_most=2)


def taking(counters: PathCounters, since_ns: int, milliseconds: float) -> PathCounters:
    """Each I/O of the path takes so much longer from a moment on."""
    ios = np.diff(counters.completed, prepend=0)
    more = np.where(counters.at_ns >= since_ns, ios * milliseconds, 0)
    took = counters.took_ms + np.cumsum(more).astype(np.int64)
    return replace(counters, took_ms=took)


def slower(milliseconds: float, *paths: str) -> Measurements:
    measured = good()
    for path in paths:
        measured = with_counters(measured, path, lambda c: taking(c, HEALED, milliseconds))
    return measured


def test_paths_that_are_as_they_were_pass() -> None:
    finding = found(CHECK, good())
    assert finding.verdict is Verdict.PASS
    assert finding.figures["I/O of path a, before / after"].startswith("4.0 ms / 4.0 ms")


@pytest.mark.parametrize("path", ["a", "b"])
def test_a_path_that_is_slower_than_before_fails(path: str) -> None:
    """Whether the fault hit it or not. The map may well be as fast as before."""
    finding = found(CHECK, slower(5, path))
    assert finding.verdict is Verdict.FAIL
    assert f"an I/O of path {path} takes 2.2 times as long as before" in finding.message


@pytest.mark.parametrize("milliseconds", [1.9, 3.9])
def test_a_little_slower_is_no_failure(milliseconds: float) -> None:
    assert found(CHECK, slower(milliseconds, "a")).verdict is Verdict.PASS


def test_paths_that_are_all_slower_are_not_for_this_check_to_judge() -> None:
    """It may be the host; whether the map is slower another check knows."""
    finding = found(CHECK, slower(5, "a", "b"))
    assert finding.verdict is Verdict.UNKNOWN
    assert "those of another path take longer, too" in finding.message


def test_on_a_host_that_was_too_busy_it_is_unknown() -> None:
    measured = replace(slower(5, "a"), processors=busy_host(0.9, start_ns=HEALED))
    assert found(CHECK, measured).verdict is Verdict.UNKNOWN


def test_a_path_without_enough_io_leaves_it_open() -> None:
    """Unless it was in reserve before or afterwards."""

    def idle(counters: PathCounters) -> PathCounters:
        kept = np.minimum(counters.completed, counters.completed[counters.at_ns <= HEALED].max())
        return replace(counters, completed=kept)

    measured = with_counters(good(), "a", idle)
    finding = found(CHECK, measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert "too few I/Os of path a to compare" in finding.message
    states = tuple(
        PathStates(look.at_ns, look.states, frozenset("a")) for look in measured.path_states
    )
    assert found(CHECK, replace(measured, path_states=states)).verdict is Verdict.PASS


def test_without_a_phase_after_a_fault_nothing_can_be_said() -> None:
    measured = good()
    only = replace(measured, phases=measured.phases[:1])
    assert found(CHECK, only).verdict is Verdict.UNKNOWN
    assert measured.phases[0].start_ns == START
