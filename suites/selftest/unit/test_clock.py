"""A machine's clock against the host's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.measurements import ClockReading
from harness.observe.clock import Clock, Exchange, reading
from harness.units import NS_PER_MS, NS_PER_S

HOST = st.integers(0, 10**16)
DELAY = st.integers(0, 10**9)
OFFSET = st.integers(-(10**16), 10**16)


def exchange(asked_ns: int, offset_ns: int, there_ns: int, back_ns: int) -> Exchange:
    """An answer given `there_ns` after the question, by a clock that is ahead by `offset_ns`."""
    return Exchange(asked_ns, asked_ns + there_ns + back_ns, asked_ns + there_ns + offset_ns)


@given(OFFSET, st.lists(st.tuples(HOST, DELAY, DELAY), min_size=1))
def test_the_true_offset_lies_within_the_uncertainty(
    offset_ns: int, delays: list[tuple[int, int, int]]
) -> None:
    """However unequal the ways there and back are."""
    exchanges = [exchange(asked, offset_ns, there, back) for asked, there, back in delays]
    found = reading("target", exchanges)
    assert abs(found.offset_ns - offset_ns) <= found.uncertainty_ns


@given(st.lists(st.tuples(HOST, DELAY, DELAY), min_size=1))
def test_the_uncertainty_is_half_of_the_best_round_trip(delays: list[tuple[int, int, int]]) -> None:
    """One quick exchange among slow ones is enough."""
    found = reading("target", [exchange(asked, 0, there, back) for asked, there, back in delays])
    assert found.uncertainty_ns == (min(there + back for _, there, back in delays) + 1) // 2
    assert found.machine == "target"


@given(OFFSET, HOST, st.integers(-(10**12), 10**12))
def test_one_reading_is_a_constant_offset(offset_ns: int, at_ns: int, later_ns: int) -> None:
    """Before and after it alike, to the nanosecond where a float can hold it."""
    clock = Clock((ClockReading("target", at_ns, offset_ns, 1),))
    host_ns = at_ns + later_ns
    assert abs(clock.to_host(host_ns + offset_ns) - host_ns) <= 2


@given(
    st.integers(-500, 500),
    st.integers(-(10**12), 10**12),
    st.integers(60, 600),
    st.floats(0, 1),
)
def test_a_steady_drift_between_two_readings_is_undone(
    ppm: int, offset_ns: int, seconds: int, where: float
) -> None:
    """Emulated clocks drift by hundreds of parts per million: to a microsecond."""
    start_ns, end_ns = 10**12, 10**12 + seconds * NS_PER_S
    offsets = [offset_ns, offset_ns + (end_ns - start_ns) * ppm // 1_000_000]
    clock = Clock(
        (
            ClockReading("target", start_ns, offsets[0], 1),
            ClockReading("target", end_ns, offsets[1], 1),
        )
    )
    host_ns = start_ns + int(where * (end_ns - start_ns))
    machine_ns = host_ns + offset_ns + (host_ns - start_ns) * ppm // 1_000_000
    assert abs(clock.to_host(machine_ns) - host_ns) <= 1000


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=20))
def test_converting_many_times_at_once_is_the_same(times: list[int]) -> None:
    """The order of the times is kept."""
    clock = Clock((ClockReading("i", 0, 5, 1), ClockReading("i", 10**15, 10**9, 2)))
    together = clock.array_to_host(np.array(sorted(times), dtype=np.int64))
    assert together.tolist() == [clock.to_host(at) for at in sorted(times)]
    assert (np.diff(together) >= 0).all()


def test_the_uncertainty_is_that_of_the_worst_reading() -> None:
    """Between a good and a bad one nothing is known better."""
    readings = (ClockReading("i", 0, 0, NS_PER_MS), ClockReading("i", 9, 0, 3 * NS_PER_MS))
    assert Clock(readings).uncertainty_ns == 3 * NS_PER_MS
