"""What paths deliver and how long I/O takes, at the limits of what can be compared."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.outage import settled_outage
from harness.checks import (
    Check,
    Verdict,
    each_path_as_good_as_before,
    latency_held,
    longest_io_within_budget,
    outage,
    throughput_held,
)
from harness.measurements import Measurements, PathCounters
from harness.timeline import Phase
from harness.units import NS_PER_S
from suites.selftest.unit import standstill
from suites.selftest.unit.judged import found, good, with_counters
from suites.selftest.unit.standstill import FAILED, LOSS, REINSTATED, RETURN, Seen
from suites.selftest.unit.synthetic_failover import HEALED
from suites.selftest.unit.test_checks_outage import carried_by_the_survivor, catching_up
from suites.selftest.unit.test_longest_io import with_io

SHORTEST_NS = 3 * NS_PER_S // 2
A_NANOSECOND = 1e-9


@pytest.mark.parametrize("check", [throughput_held(0.9), latency_held(5)])
def test_an_outage_of_a_second_and_a_half_is_long_enough(check: Check) -> None:
    measured = good()
    (fault,) = measured.faults
    whole = settled_outage(measured, fault)
    assert whole is not None
    for lasted_ns, verdict in ((SHORTEST_NS, Verdict.PASS), (SHORTEST_NS - 1, Verdict.UNKNOWN)):
        healed = replace(fault, healed_ns=whole.start_ns + lasted_ns)
        finding = found(check, replace(measured, faults=(healed,)))
        assert finding.verdict is verdict, finding.message


@pytest.mark.parametrize("first", ["without a path left", "too short"])
def test_a_fault_that_cannot_be_compared_excuses_no_other(first: str) -> None:
    measured = carried_by_the_survivor(70)
    (fault,) = measured.faults
    whole = settled_outage(measured, fault)
    assert whole is not None
    other = {
        "without a path left": replace(fault, io_stops=True),
        "too short": replace(fault, healed_ns=whole.start_ns + 1),
    }[first]
    finding = found(throughput_held(0.9), replace(measured, faults=(other, fault)))
    assert finding.verdict is Verdict.FAIL, finding.message


def test_survivors_are_not_compared_unless_all_counters_are_known() -> None:
    """Of the path that was lost nothing was sampled before; or no path had carried anything."""
    measured = good()

    def late(counters: PathCounters) -> PathCounters:
        seen = counters.at_ns >= measured.faults[0].injected_ns
        columns = ("at_ns", "bytes_read", "bytes_written")
        return replace(counters, **{name: getattr(counters, name)[seen] for name in columns})

    def idle(counters: PathCounters) -> PathCounters:
        return replace(counters, bytes_written=counters.bytes_written * 0)

    neither = with_counters(with_counters(measured, "a", idle), "b", idle)
    for unknown in (with_counters(measured, "a", late), neither):
        finding = found(throughput_held(0.9), unknown)
        assert finding.verdict is Verdict.UNKNOWN
        assert "it is not known what each path carried in phase 'before'" in finding.message


@pytest.mark.parametrize(("left_ns", "calm"), [(SHORTEST_NS, True), (SHORTEST_NS - 1, False)])
def test_reads_are_compared_once_io_has_caught_up_for_a_second_and_a_half(
    left_ns: int, calm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def caught_up_ns(_: Measurements, __: Phase, during: Phase) -> int:
        return during.end_ns - left_ns

    monkeypatch.setattr(outage, "caught_up_ns", caught_up_ns)
    finding = found(latency_held(5), catching_up(30, slow_s=11))
    assert ("still catching up" not in finding.message) is calm
    if not calm:
        assert finding.message.endswith("with its pace until 1.5 s before healing")


def test_how_late_io_had_caught_up_is_told() -> None:
    finding = found(latency_held(5), catching_up(10.5, slow_s=11))
    told = re.search(r"until (\d\.\d) s before healing$", finding.message)
    assert told is not None
    assert 0 < float(told[1]) < 1.5


def uneven(was_ms: float, *became_ms: float) -> PathCounters:
    """Path a, whose I/Os take by turns so long in each half second after healing."""
    counters = good().counters[0]
    ios = np.diff(counters.completed, prepend=0)
    turn = (counters.at_ns - HEALED) // (NS_PER_S // 2) % len(became_ms)
    took = np.where(counters.at_ns >= HEALED, ios * np.array(became_ms)[turn], ios * was_ms)
    return replace(counters, took_ms=np.cumsum(took).astype(np.int64))


def test_a_path_that_became_faster_is_no_measure_for_another() -> None:
    """Path a is slower by its means, which is not proven; path b is twice as fast as before."""
    measured = with_counters(good(), "a", lambda _: uneven(10, 2, 50))

    def faster(counters: PathCounters) -> PathCounters:
        ios = np.diff(counters.completed, prepend=0)
        took = np.where(counters.at_ns >= HEALED, ios * 5, ios * 10)
        return replace(counters, took_ms=np.cumsum(took).astype(np.int64))

    finding = found(each_path_as_good_as_before(2), with_counters(measured, "b", faster))
    assert finding.verdict is Verdict.UNKNOWN, finding.message
    assert "vary too much to tell" in finding.message


def test_the_only_path_is_compared_with_itself() -> None:
    alone = replace(good(), counters=(uneven(10, 22),))
    assert found(each_path_as_good_as_before(2), alone).verdict is Verdict.FAIL


def lost(start_s: float, end_s: float, *, io_stops: bool) -> Measurements:
    """An I/O that took so long, and was the longest; all paths may be lost."""
    both: tuple[Seen, ...] = ((3.01, FAILED, "2"), (17.0, REINSTATED, "2"))
    measured = standstill.measured(
        seen=LOSS + RETURN + (both if io_stops else ()), io_stops=io_stops, carries_from=17.1
    )
    return standstill.watched(with_io(measured, start_s, end_s))


@pytest.mark.parametrize(("start_s", "io_stops"), [(0.5, False), (14.5, True)])
def test_max_stall_is_exceeded_by_a_nanosecond(start_s: float, io_stops: bool) -> None:
    """The time before healing is spared only where no path was left, and an I/O waited then."""
    for more_s, verdict in ((0.0, Verdict.UNKNOWN), (A_NANOSECOND, Verdict.FAIL)):
        held = replace(lost(start_s, start_s + 3 + more_s, io_stops=io_stops), max_stall_s=3)
        finding = found(longest_io_within_budget(), held)
        assert finding.verdict is verdict, finding.message
    held = replace(lost(start_s, start_s + 3, io_stops=io_stops), max_stall_s=3.5)
    assert found(longest_io_within_budget(), held).verdict is Verdict.PASS


def test_where_no_path_was_left_and_nothing_completed_the_longest_io_is_unknown() -> None:
    empty = replace(lost(14.5, 17.5, io_stops=True), streams=())
    finding = found(longest_io_within_budget(), empty)
    assert finding.verdict is Verdict.UNKNOWN
    assert "crashed" not in finding.message
