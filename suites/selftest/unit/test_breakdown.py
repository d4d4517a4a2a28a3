"""A stall by its parts: they make it up, and the layer that took too long is named."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.breakdown import Breakdown, breakdown, listed
from harness.checks import Check, Finding, Verdict, judge, no_stall_beyond, stall_within_budget
from harness.healing import back_ns, stall_after, stall_during
from harness.measurements import (
    Budget,
    BudgetTerm,
    ClockReading,
    CompletionLog,
    FaultRecord,
    FioErrors,
    Layer,
    Measurements,
    PathCounters,
    Stream,
)
from harness.timeline import Event, Happened, Phase, Timeline
from harness.units import NS_PER_MS, NS_PER_S

INJECTED = 100 * NS_PER_S
CONFIRMED, HEALED, HEALING_CONFIRMED, END = 0.1, 14.0, 14.1, 25.0
SINGLE = (
    BudgetTerm("noop_out_interval", 1, "", layers=(Layer.DETECTION,)),
    BudgetTerm("noop_out_timeout", 1, "", layers=(Layer.DETECTION,)),
    BudgetTerm("recovery_tmo", 1, "", layers=(Layer.SESSION_RECOVERY,)),
    BudgetTerm("slack", 1, "", layers=(Layer.DEVICE_MAPPER, Layer.RESUBMISSION)),
)
ALL_PATHS = (
    BudgetTerm(
        "outage",
        14.1,
        "",
        layers=(Layer.DETECTION, Layer.SESSION_RECOVERY, Layer.DEVICE_MAPPER, Layer.NO_PATH),
    ),
    BudgetTerm("login_timeout", 3, "", layers=(Layer.LOGIN,)),
    BudgetTerm("polling_interval", 1, "", layers=(Layer.REINSTATEMENT,)),
    BudgetTerm("slack", 1, "", layers=(Layer.RESUBMISSION,)),
)
ERROR, TIMED_OUT = Happened.CONNECTION_ERROR, Happened.RECOVERY_TIMED_OUT
FAILED, RECOVERED = Happened.PATH_FAILED, Happened.SESSION_RECOVERED
REINSTATED = Happened.PATH_REINSTATED
TEXTS = {
    ERROR: "connection{}:0: detected conn error (1022)",
    TIMED_OUT: "session{}: session recovery timed out after 1 secs",
}
PATHS = {"1": "sda", "2": "sdb"}
Seen = tuple[float, Happened, str]
LOSS: tuple[Seen, ...] = ((2.0, ERROR, "1"), (3.0, TIMED_OUT, "1"), (3.01, FAILED, "1"))
RETURN: tuple[Seen, ...] = ((16.0, RECOVERED, "1"), (17.0, REINSTATED, "1"))


def at(seconds: float) -> int:
    return INJECTED + round(seconds * NS_PER_S)


def event(seconds: float, what: Happened, session: str) -> Event:
    text = TEXTS.get(what)
    return Event(at(seconds), what, "test", text.format(session) if text else PATHS[session])


def stream(*pauses: tuple[float, float]) -> Stream:
    """Every 10 ms one I/O completes, and none within a pause."""
    times = np.arange(at(-3), at(END), 10 * NS_PER_MS, dtype=np.int64)
    for start, end in pauses:
        times = times[(times <= at(start)) | (times >= at(end))]
        times = np.unique([*times, at(start), at(end)])
    latency = np.diff(times, prepend=times[0] - NS_PER_MS)
    nothing = np.zeros_like(times)
    log = CompletionLog(times, latency, nothing, nothing, nothing.astype(np.bool_), 1)
    return Stream("probe", 1, verified=False, completions=log, errors=FioErrors(0, 0, 0))


def counters(path: str, fabric: str, carries_from: float) -> PathCounters:
    """A path that carries nothing from the injection on, until some time."""
    ticks = np.arange(at(-3), at(END), 80 * NS_PER_MS, dtype=np.int64)
    carries = (ticks < INJECTED) | (ticks >= at(carries_from))
    return PathCounters(path, fabric, ticks, np.zeros_like(ticks), np.cumsum(carries * 4096))


def measured(
    *pauses: tuple[float, float],
    seen: tuple[Seen, ...] = LOSS + RETURN,
    io_stops: bool = False,
    carries_from: float = 17.0,
) -> Measurements:
    """Fabric a is lost, or both, and healed after 14 s."""
    fault = FaultRecord(
        "LinkDown(a)",
        ("a", "b") if io_stops else ("a",),
        "",
        injected_ns=INJECTED,
        confirmed_ns=at(CONFIRMED),
        healed_ns=at(HEALED),
        healing_confirmed_ns=at(HEALING_CONFIRMED),
        budget=Budget(ALL_PATHS if io_stops else SINGLE),
        io_stops=io_stops,
    )
    return Measurements(
        timeline=Timeline.of(event(*one) for one in seen),
        phases=(Phase("before", at(-3), INJECTED), Phase("after", at(HEALED), at(END))),
        streams=(stream(*pauses),),
        counters=(
            counters("sda", "a", carries_from),
            counters("sdb", "b", carries_from if io_stops else 0),
        ),
        path_states=(),
        kernel_logs=(),
        clocks=(),
        settings=(),
        faults=(fault,),
    )


def taken_apart(measurements: Measurements) -> Breakdown:
    result = breakdown(measurements, measurements.faults[0])
    assert result is not None
    return result


def layers(parts: Breakdown) -> dict[str, float]:
    return {part.layer: round(part.seconds, 3) for part in parts.outage}


def found(check: Check, measurements: Measurements) -> Finding:
    return judge(measurements, check).findings[0]


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


def test_a_fault_that_nobody_noticed_has_one_part() -> None:
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
    assert parts.outage[0].start_ns == parts.stall.start_ns
    assert parts.outage[-1].end_ns == parts.stall.end_ns
    for parted in (parts.outage, parts.recovery):
        assert all(one.end_ns == other.start_ns for one, other in pairwise(parted))
        assert all(one.ends is other.begins for one, other in pairwise(parted))
        for part in parted:
            assert (part.end_ns - part.start_ns) / NS_PER_S >= -part.uncertainty_s - 1e-9
    wrong_s = parts.sum_s - parts.stall.seconds
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
    assert finding.figures["recovery: session login"].startswith("2.000 s ")


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


def test_until_the_path_is_back_a_stall_has_the_budget() -> None:
    """Healing was confirmed, but no I/O went over the path yet."""
    finding = found(stall_within_budget(), measured((0, 3.05), (15, 17.5)))
    assert finding.verdict is Verdict.PASS


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
    """As if fabric b was lost 21 s after fabric a."""
    second = replace(
        first.faults[0],
        name="LinkDown(b)",
        fabrics=("b",),
        injected_ns=at(21),
        confirmed_ns=at(21.1),
        healed_ns=at(23.5),
        healing_confirmed_ns=at(23.6),
    )
    return replace(first, faults=(first.faults[0], second))


def test_every_stall_belongs_to_one_fault_and_one_limit() -> None:
    """The next fault begins where this one's time ends."""
    both = lost_one_after_the_other(measured((0, 3.05), (17.2, 20.6), (21, 23)))
    stalls = [pick(both, fault) for fault in both.faults for pick in (stall_during, stall_after)]
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
