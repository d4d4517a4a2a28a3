"""A stall by its parts: they make it up, as far as they were seen in order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.breakdown import Breakdown, breakdown, listed
from harness.measurements import (
    ClockReading,
)
from harness.timeline import Timeline
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.standstill import (
    ERROR,
    FAILED,
    LOSS,
    RECOVERED,
    REINSTATED,
    RETURN,
    TIMED_OUT,
    Seen,
    at,
    layers,
    measured,
    taken_apart,
)


def test_the_parts_of_losing_one_path() -> None:
    """Each layer with the share that the settings give it."""
    parts = taken_apart(measured((0.03, 3.05)))
    assert [(p.layer, round(p.seconds, 3), p.allowed_s, p.source) for p in parts.outage] == [
        ("detection", 1.97, 2, "noop_out_interval + noop_out_timeout"),
        ("session recovery", 1.0, 1, "recovery_tmo"),
        ("device mapper", 0.01, 1, "slack"),
        ("resubmission", 0.04, 1, "slack"),
    ]
    assert [(p.layer, round(p.seconds, 3)) for p in parts.recovery] == [
        ("session login", 2.0),
        ("reinstatement", 1.0),
        ("first I/O on the path", 0.08),
    ]
    assert parts.missing == ()
    assert parts.culprit == ""


def test_the_parts_of_losing_all_paths() -> None:
    """The last path given up and the first that comes back are what I/O waits for."""
    seen = (
        *LOSS,
        (2.5, ERROR, "2"),
        (3.5, TIMED_OUT, "2"),
        (3.6, FAILED, "2"),
        (15.0, RECOVERED, "2"),
        (15.5, RECOVERED, "1"),
        (16.0, REINSTATED, "1"),
        (16.2, REINSTATED, "2"),
    )
    parts = taken_apart(measured((0, 16.1), seen=seen, io_stops=True))
    assert layers(parts) == {
        "detection": 2.5,
        "session recovery": 1.0,
        "device mapper": 0.1,
        "no path left": 10.4,
        "session login": 1.5,
        "reinstatement": 0.5,
        "resubmission": 0.1,
    }
    assert [part.allowed_s for part in parts.outage] == [14.1, 14.1, 14.1, 14.1, 3, 1, 1]


def test_a_session_is_found_dead_before_its_own_recovery_times_out() -> None:
    """Not before that of another."""
    seen = ((2.0, ERROR, "1"), (2.5, ERROR, "2"), (3.4, TIMED_OUT, "2"), (3.5, TIMED_OUT, "1"))
    parts = taken_apart(measured((0, 16.1), seen=seen, io_stops=True))
    assert (layers(parts)["detection"], layers(parts)["session recovery"]) == (2.0, 1.5)


def test_a_path_that_the_fault_did_not_hit_has_no_part_in_it() -> None:
    """It is lost for a reason of its own."""
    parts = taken_apart(measured((0, 3.05), seen=(*LOSS, (3.04, FAILED, "2"))))
    assert layers(parts)["device mapper"] == 0.01


def test_a_session_that_the_fault_did_not_hit_has_no_part_in_it() -> None:
    """It was found dead before, and given up after, the one that I/O waited for."""
    seen = ((0.5, ERROR, "2"), *LOSS, (3.04, TIMED_OUT, "2"), *RETURN)
    parts = taken_apart(measured((0.03, 3.05), seen=seen))
    assert (layers(parts)["detection"], layers(parts)["session recovery"]) == (1.97, 1.0)
    assert layers(parts)["device mapper"] == 0.01
    assert (parts.missing, parts.culprit) == ((), "")


def test_what_was_seen_too_late_by_no_more_than_its_uncertainty_was_in_time() -> None:
    """The kernel's clock and fio's are told apart no better than that."""
    exact = measured((0, 3.005))
    rough = [replace(e, uncertainty_ns=10 * NS_PER_MS) for e in exact.timeline]
    parts = taken_apart(replace(exact, timeline=Timeline.of(rough)))
    assert layers(parts)["device mapper"] == 0.01
    assert layers(parts)["resubmission"] == 0
    assert parts.sum_s == pytest.approx(3.01)
    assert taken_apart(exact).missing == ("path failed",)


def test_what_was_not_seen_is_one_part_with_its_neighbour() -> None:
    """With the shares of both, and by name."""
    parts = taken_apart(measured((0, 3.05), seen=(LOSS[0], LOSS[2])))
    assert layers(parts) == {
        "detection": 2.0,
        "session recovery and device mapper": 1.01,
        "resubmission": 0.04,
    }
    assert [part.allowed_s for part in parts.outage] == [2, 2, 1]
    assert parts.outage[1].source == "recovery_tmo + slack"
    assert [[term.name for term in share.terms] for share in parts.shares] == [
        ["noop_out_interval", "noop_out_timeout"],
        ["recovery_tmo", "slack"],
    ]
    assert parts.missing == ("session recovery timed out", "session recovered", "path reinstated")


def test_what_came_after_the_stall_had_no_part_in_it() -> None:
    """The fault healed first: I/O went on before the session was given up."""
    parts = taken_apart(measured((0, 2.9)))
    assert layers(parts) == {
        "detection": 2.0,
        "session recovery, device mapper and resubmission": 0.9,
    }
    assert parts.missing == ("session recovery timed out", "path failed")


def test_a_fault_that_was_not_noticed_has_one_part() -> None:
    """It is held to the whole budget."""
    (part,) = taken_apart(measured((0, 2.9), seen=())).outage
    assert (part.layer, part.allowed_s) == (
        "detection, session recovery, device mapper and resubmission",
        4,
    )


def test_a_standstill_before_the_fault_is_not_the_faults() -> None:
    """No layer is blamed for it."""
    parts = taken_apart(measured((-2, 3.05)))
    assert layers(parts)["standstill before the fault"] == 2
    assert parts.culprit == ("standstill before the fault took 2.00 s where the budget allows 0 s")


def test_what_was_seen_before_i_o_stood_still_is_no_part_of_the_stall() -> None:
    """The worst stream went on for a while on the other path."""
    parts = taken_apart(measured((2.5, 3.05)))
    assert layers(parts)["detection and session recovery"] == 0.5
    assert parts.missing == ("connection error",)
    assert not parts.adds_up


def test_what_was_seen_out_of_order_is_missing() -> None:
    """A path is not given up before its session is."""
    seen = ((2.0, ERROR, "1"), (2.5, FAILED, "1"), (3.0, TIMED_OUT, "1"))
    parts = taken_apart(measured((0, 3.05), seen=seen + RETURN))
    assert layers(parts)["device mapper and resubmission"] == 0.05
    assert parts.missing == ("path failed",)
    assert not parts.adds_up


@pytest.mark.parametrize(("late_s", "adds_up"), [(0.0, True), (0.0029, True), (0.004, False)])
def test_parts_add_up_as_far_as_the_clocks_agree(late_s: float, adds_up: bool) -> None:
    """Here clocks are known to 2 ms, and fio's log to 1 ms."""
    seen = ((2.0, ERROR, "1"), (3.0, TIMED_OUT, "1"), (3.05 + late_s, FAILED, "1"), *RETURN)
    exact = measured((0, 3.05), seen=seen)
    rough = replace(
        exact,
        timeline=Timeline.of(replace(e, uncertainty_ns=2 * NS_PER_MS) for e in exact.timeline),
        streams=tuple(
            replace(s, completions=replace(s.completions, resolution_ns=NS_PER_MS))
            for s in exact.streams
        ),
        clocks=(ClockReading("initiator", 0, 0, 2 * NS_PER_MS),),
    )
    parts = taken_apart(rough)
    assert parts.missing == ()
    assert parts.tolerance_s == 0.003
    assert parts.sum_s == pytest.approx(3.05 + late_s)
    assert parts.adds_up is adds_up


def test_healing_takes_effect_before_it_returns() -> None:
    """At the latest when a session is back, but not before the order is given."""
    seen = (*LOSS, (13.8, RECOVERED, "1"), (15.0, REINSTATED, "1"))
    lost = measured((0, 15.1), seen=seen, io_stops=True)

    def ordered(seconds: float) -> Breakdown:
        return taken_apart(replace(lost, faults=(replace(lost.faults[0], healing_ns=at(seconds)),)))

    assert layers(ordered(13.5)).items() >= {"no path left": 10.79, "session login": 0}.items()
    assert ordered(13.5).adds_up
    assert ordered(13.9).missing == ("session recovered",)


def test_uncertainties_of_both_ends_add_up() -> None:
    """Those of the events, and the grain of the log with that of the clock."""
    parts = taken_apart(measured((0, 3.05)))
    assert parts.outage[0].uncertainty_s == 1e-9
    assert parts.outage[1].uncertainty_s == 0
    assert parts.recovery[2].uncertainty_s == pytest.approx(0.08)


def test_without_a_completion_there_is_nothing_to_take_apart() -> None:
    """Nothing is made up."""
    empty = measured((0, 3))
    silent = replace(empty, streams=())
    assert breakdown(silent, silent.faults[0]) is None


SEEN = st.lists(
    st.tuples(
        st.floats(-1, 25),
        st.sampled_from((ERROR, TIMED_OUT, FAILED, RECOVERED, REINSTATED)),
        st.sampled_from(("1", "2")),
    ),
    max_size=12,
).map(tuple)


@given(
    seen=SEEN,
    start=st.floats(-2, 13),
    length=st.floats(0.5, 11),
    io_stops=st.booleans(),
    uncertainty_ns=st.integers(0, NS_PER_S),
)
def test_parts_always_make_up_the_stall(
    seen: tuple[Seen, ...], start: float, length: float, io_stops: bool, uncertainty_ns: int
) -> None:
    """Whatever was seen, in whatever order: no gap, every layer once, wrong by no more than told.

    Without any uncertainty there is nothing to be wrong by.
    """
    exact = measured((start, start + length), seen=seen, io_stops=io_stops)
    events = [replace(e, uncertainty_ns=uncertainty_ns) for e in exact.timeline]
    parts = taken_apart(replace(exact, timeline=Timeline.of(events)))
    assert parts.outage[0].start_ns == parts.wait.start_ns
    assert parts.outage[-1].end_ns == parts.wait.end_ns
    for parted in (parts.outage, parts.recovery):
        assert all(one.end_ns == other.start_ns for one, other in pairwise(parted))
        assert all(one.ends is other.begins for one, other in pairwise(parted))
        for part in parted:
            assert (part.end_ns - part.start_ns) / NS_PER_S >= -part.uncertainty_s - 1e-9
    wrong_s = parts.sum_s - parts.wait.seconds
    assert -1e-6 <= wrong_s <= sum(part.uncertainty_s for part in parts.outage) + 1e-6
    assert uncertainty_ns or abs(wrong_s) <= parts.tolerance_s + 1e-6
    names = ", ".join(part.layer for part in parts.outage).replace(" and ", ", ").split(", ")
    assert len(names) == len(set(names))
    assert len(set(names) - {"standstill before the fault"}) == (7 if io_stops else 4)


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_names_are_listed_as_one_would_say_them(names: list[str], text: str) -> None:
    """With commas, and one "and"."""
    assert listed(names) == text
