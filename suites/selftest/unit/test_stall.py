"""The longest time without a completion while I/O was outstanding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.stall import longest_stall, stall_resolution_ns, worst_stall
from harness.measurements import CompletionLog, FioErrors, Stream
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.synthetic_failover import INJECTED, STALL_S, failover, nothing_measured

IO = st.tuples(st.integers(0, 60), st.integers(1, 30))


def log_of(ios: list[tuple[int, int]]) -> CompletionLog:
    """A log from (submitted, latency) of each I/O, in the order of completion."""
    ordered = sorted(ios, key=lambda io: io[0] + io[1])
    at = np.array([submitted + latency for submitted, latency in ordered], dtype=np.int64)
    latency = np.array([latency for _, latency in ordered], dtype=np.int64)
    nothing = np.zeros_like(at)
    return CompletionLog(at, latency, nothing, nothing, nothing.astype(np.bool_), 1)


def stall_ns(ios: list[tuple[int, int]]) -> int:
    stall = longest_stall(log_of(ios), "probe")
    assert stall is not None
    return stall.end_ns - stall.start_ns


def stall_by_definition(ios: list[tuple[int, int]]) -> int:
    """Step through every nanosecond: I/O is outstanding and nothing completes."""
    completed = {submitted + latency for submitted, latency in ios}
    longest = current = 0
    for now in range(max(completed)):
        outstanding = any(submitted <= now < submitted + latency for submitted, latency in ios)
        current = 0 if now in completed else current
        current = current + 1 if outstanding else 0
        longest = max(longest, current)
    return longest


@given(st.lists(IO, min_size=1, max_size=12))
def test_the_stall_is_what_its_definition_says(ios: list[tuple[int, int]]) -> None:
    """Any number of I/Os outstanding at once, completing in any order."""
    assert stall_ns(ios) == stall_by_definition(ios)


@given(st.lists(IO, min_size=1, max_size=8), st.randoms())
def test_the_order_of_the_log_does_not_matter(ios: list[tuple[int, int]], chance: object) -> None:
    """fio writes its log in no guaranteed order."""
    log = log_of(ios)
    order = np.random.default_rng(len(ios)).permutation(len(ios))
    shuffled = replace(log, at_ns=log.at_ns[order], latency_ns=log.latency_ns[order])
    found, expected = longest_stall(shuffled, "s"), longest_stall(log, "s")
    assert found is not None
    assert expected is not None
    assert found.end_ns - found.start_ns == expected.end_ns - expected.start_ns


def test_at_depth_1_the_stall_is_the_longest_latency() -> None:
    """Nothing else is outstanding."""
    assert stall_ns([(0, 4), (4, 3), (10, 9), (20, 2)]) == 9


def test_completions_of_others_interrupt_a_stall() -> None:
    """One I/O of depth 4 that takes 90 is no stall while the others go on."""
    others = [(start, 10) for start in range(0, 100, 10)]
    assert stall_ns([(5, 90), *others]) == 10


def test_all_outstanding_io_waits_together() -> None:
    """Depth 3: the stall begins at the last completion, not at the submissions."""
    assert stall_ns([(0, 10), (5, 95), (6, 94), (7, 94)]) == 90


def test_an_idle_gap_is_no_stall() -> None:
    """A paced stream waits for its next turn with nothing outstanding."""
    assert stall_ns([(0, 2), (1000, 3), (5000, 2)]) == 3


def test_a_stall_says_where_and_when() -> None:
    """From the completion before it to the one that ended it."""
    stall = longest_stall(log_of([(0, 1), (1, 50), (51, 1)]), "write")
    assert stall is not None
    assert (stall.stream, stall.start_ns, stall.end_ns) == ("write", 1, 51)
    assert stall.seconds == 50e-9


def test_nothing_completed_is_no_stall_of_zero() -> None:
    """What was never seen has no length."""
    assert longest_stall(log_of([]), "probe") is None
    assert worst_stall(nothing_measured()) is None


def test_the_worst_stream_counts() -> None:
    """A failover stalls every stream; the longest is judged."""
    measured = failover()
    stall = worst_stall(measured)
    assert stall is not None
    assert abs(stall.seconds - STALL_S) < 0.01
    assert abs(stall.start_ns - INJECTED) < 10 * NS_PER_MS
    log = log_of([(0, 7 * NS_PER_S)])
    slow = Stream("read", 1, verified=True, completions=log, errors=FioErrors(0, 0, 0))
    worse = worst_stall(replace(measured, streams=(*measured.streams, slow)))
    assert worse is not None
    assert worse.stream == "read"


def test_the_resolution_is_the_probes_interval() -> None:
    """Before the fault, and never finer than the grain of the log."""
    measured = failover()
    assert measured.probe is not None
    log = measured.probe.completions
    every_ns = 7 * NS_PER_MS
    at = np.arange(INJECTED - 5 * NS_PER_S, INJECTED, every_ns, dtype=np.int64)
    same = np.zeros_like(at)
    regular = replace(
        log, at_ns=at, latency_ns=same, offset=same, size=same, is_write=same.astype(np.bool_)
    )

    def seen(log: CompletionLog) -> int | None:
        assert measured.probe is not None
        probe = replace(measured.probe, completions=log)
        return stall_resolution_ns(replace(measured, streams=(probe,)))

    assert seen(regular) == every_ns
    assert seen(replace(regular, resolution_ns=10 * NS_PER_MS)) == 10 * NS_PER_MS
    assert seen(log_of([(INJECTED - n, 1) for n in range(19)])) is None
    assert stall_resolution_ns(replace(measured, streams=())) is None
