"""When it can be told that paths are as before: with just enough time, samples and looks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.confidence import Limits
from harness.checks import Verdict, load_shared_again, paths_restored, restored
from harness.measurements import Measurements, PathCounters, PathStates
from harness.timeline import Phase
from harness.units import MIB, NS_PER_S
from suites.selftest.unit.judged import carrying, found, good, with_counters
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START

HALF_S = NS_PER_S // 2
BOTH = {"a": "active", "b": "active"}


def carried(a: dict[int, int], b: dict[int, int], later: tuple[int, int]) -> Measurements:
    """Each path carries 1 MiB in each half second before the fault, and `later` after it.

    But for those half seconds, by their number from the start, in which it is otherwise.
    """
    at_ns = np.arange(START, END + 1, HALF_S, dtype=np.int64)
    counters = []
    for path, others, after in (("a", a, later[0]), ("b", b, later[1])):
        grown = np.where(at_ns[1:] <= INJECTED, MIB, after)
        for number, size in others.items():
            grown[number] = size
        written = np.concatenate(([0], np.cumsum(grown)))
        counters.append(PathCounters(path, (f"sd{path}",), at_ns, written * 0, written))
    return replace(good(), counters=tuple(counters))


def lasting(measured: Measurements, after_ns: int) -> Measurements:
    """With a last phase of that length."""
    before, during, _ = measured.phases
    return replace(measured, phases=(before, during, Phase("after", HEALED, HEALED + after_ns)))


@pytest.mark.parametrize(
    ("after_ns", "verdict"),
    [
        (3 * HALF_S, Verdict.FAIL),
        (3 * HALF_S - 1, Verdict.UNKNOWN),
        (2 * HALF_S, Verdict.UNKNOWN),
    ],
)
def test_a_small_share_is_proven_by_three_half_seconds(after_ns: int, verdict: Verdict) -> None:
    measured = lasting(carried({}, {}, (MIB // 10, 2 * MIB)), after_ns)
    finding = found(load_shared_again(0.5), measured)
    assert finding.verdict is verdict, finding.message
    assert ("the shares vary too much" in finding.message) is (verdict is Verdict.UNKNOWN)


def test_a_share_is_one_of_all_bytes_and_not_a_number_of_them() -> None:
    """More was carried afterwards; in some half seconds nothing was, or a single byte."""
    odd = (2, 45), (5, 50)
    a = dict.fromkeys((*odd[0], *odd[1]), 0)
    b = dict.fromkeys(odd[0], 0) | dict.fromkeys(odd[1], 1)
    finding = found(load_shared_again(0.5), carried(a, b, (2 * MIB // 5, 4 * MIB)))
    assert finding.verdict is Verdict.FAIL, finding.message
    assert finding.message == "path a carries 9% of the load after the fault, 50% before"


def test_a_share_may_be_as_small_as_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = carried({}, {}, (MIB // 10, 2 * MIB))
    for high, verdict in ((0.5, Verdict.UNKNOWN), (0.499, Verdict.FAIL)):
        limits = Limits(0.0, high)
        monkeypatch.setattr(restored, "ratio_of_means", lambda *_, limits=limits: limits)
        assert found(load_shared_again(0.5), measured).verdict is verdict


def test_without_a_phase_after_a_fault_no_share_is_compared() -> None:
    before, *_ = good().phases
    finding = found(load_shared_again(0.5), replace(good(), phases=(before,)))
    assert (finding.verdict, finding.message) == (
        Verdict.UNKNOWN,
        "there is no phase after a fault",
    )


def test_a_share_that_is_not_known_before_or_afterwards_is_told_as_such() -> None:
    first, other = good().counters
    for seen in (first.at_ns < HEALED, first.at_ns > INJECTED):
        columns = ("at_ns", "bytes_read", "bytes_written")
        part = replace(first, **{name: getattr(first, name)[seen] for name in columns})
        finding = found(load_shared_again(0.5), replace(good(), counters=(part, other)))
        assert (finding.verdict, finding.message) == (
            Verdict.UNKNOWN,
            "the share of some path is not known",
        )


@pytest.mark.parametrize("missing", ["path_states", "counters"])
def test_without_samples_nothing_is_said_of_paths_that_are_back(missing: str) -> None:
    blind = replace(good(), **{missing: ()})  # type: ignore[arg-type]  # both are tuples
    assert found(paths_restored(), blind).message == "no path states were sampled"


@pytest.mark.parametrize(("early_ns", "seen"), [(NS_PER_S, True), (NS_PER_S + 1, False)])
def test_the_last_sample_may_be_a_second_before_the_end(early_ns: int, seen: bool) -> None:
    """Whenever the one before it was."""
    states = (PathStates(HEALED, BOTH), PathStates(END - early_ns, BOTH))
    finding = found(paths_restored(), replace(good(), path_states=states))
    assert (finding.verdict is Verdict.PASS) is seen, finding.message
    assert ("no path states were sampled at the end of phase" in finding.message) is not seen


def cut_short(since_healing_ns: int) -> Measurements:
    """The I/O ended too early, so long after healing, with a path that carries too little."""
    measured = carried({}, {}, (MIB // 10, 2 * MIB))
    (fault,) = measured.faults
    healed = replace(fault, healing_confirmed_ns=END - since_healing_ns)
    return replace(measured, faults=(healed,), cut_short="fio ended early")


def test_45_seconds_are_enough_for_paths_to_come_back() -> None:
    for since_ns, verdict in ((45 * NS_PER_S, Verdict.FAIL), (45 * NS_PER_S - 1, Verdict.UNKNOWN)):
        finding = found(load_shared_again(0.5), cut_short(since_ns))
        assert finding.verdict is verdict, finding.message


def test_io_that_was_cut_short_before_healing_had_no_time_at_all() -> None:
    message = found(load_shared_again(0.5), cut_short(-NS_PER_S // 2)).message
    assert message == "the I/O was cut short 0.0 s after healing: fio ended early"


def in_use_again(*last_ns: int) -> Measurements:
    """Path b was in reserve before the fault, and is in use by these looks after it."""
    reserve = frozenset({"b"})
    early = [PathStates(at_ns, BOTH, reserve) for at_ns in range(START, INJECTED, NS_PER_S)]
    late = [PathStates(at_ns, BOTH) for at_ns in last_ns]
    measured = with_counters(good(), "b", lambda c: carrying(c, START, INJECTED, 0))
    return replace(measured, path_states=(*early, *late))


def test_three_looks_of_the_last_second_show_that_a_reserve_is_in_use() -> None:
    """Those at its beginning and at its end are among them."""
    looks = (END - NS_PER_S, END - HALF_S, END)
    finding = found(load_shared_again(0.3), in_use_again(*looks))
    assert finding.verdict is Verdict.FAIL, finding.message
    assert "path b was in reserve before the fault, and is in use after it" in finding.message
    for fewer in (looks[1:], looks[:-1], (END - NS_PER_S - 1, *looks[1:])):
        finding = found(load_shared_again(0.3), in_use_again(*fewer))
        assert finding.verdict is Verdict.UNKNOWN
        assert finding.message == "it is not known which group of paths was in use"
