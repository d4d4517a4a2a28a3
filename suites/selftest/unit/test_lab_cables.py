"""The lab's own cables: what they carried, and what a check says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.lab_cables import Direction, Loss, directions, longest_standstill, loss
from harness.checks import (
    Check,
    Finding,
    Verdict,
    cables_sound,
    data_intact,
    judge,
    lab_sound,
    no_stall_beyond,
    promise_kept,
    undisturbed,
)
from harness.measurements import (
    MAP,
    BlockFinding,
    CableEnd,
    ClockReading,
    Damage,
    Ints,
    Measurements,
    ReadBack,
)
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import good
from suites.selftest.unit.synthetic_failover import END, INJECTED, START

INITIATOR_NS = np.arange(START, END, 98 * NS_PER_MS, dtype=np.int64)
TARGET_NS = np.arange(START + 31 * NS_PER_MS, END, 98 * NS_PER_MS, dtype=np.int64)
INJECTED_NS = np.array(INJECTED, dtype=np.int64)
STILL_FROM = START + 2 * NS_PER_S
FRAMES_PER_S = 200
FEW_PER_S = 20
LOAD_BEGINS, LOAD_ENDS = START + NS_PER_S, END - 3 * NS_PER_S
DELAY_NS = 5 * NS_PER_MS


def by_then(at_ns: Ints) -> Ints:
    """Frames at a steady pace while there is a load, and a few all the time."""
    load = (np.clip(at_ns, LOAD_BEGINS, LOAD_ENDS) - LOAD_BEGINS) * FRAMES_PER_S // NS_PER_S
    return np.asarray(load + (at_ns - START) * FEW_PER_S // NS_PER_S, dtype=np.int64)


def end(machine: str, sent: Ints, received: Ints, at_ns: Ints) -> CableEnd:
    return CableEnd(
        machine,
        "b",
        at_ns,
        frames_sent=sent,
        frames_received=received,
        bytes_sent=sent * 100,
        bytes_received=received * 100,
        dropped_sending=np.zeros_like(sent),
        dropped_receiving=np.zeros_like(sent),
        beats=np.arange(len(sent)),
        carrier_changes=np.ones_like(sent),
        carrier=np.ones(len(at_ns), dtype=np.bool_),
    )


def with_cable(arrived: Callable[[Ints], Ints] = by_then, delay_ns: int = DELAY_NS) -> Measurements:
    """A good failover over a cable that carries frames both ways.

    `arrived`: frames from the target that the initiator has at a time.
    """
    target = end("target", by_then(TARGET_NS), by_then(TARGET_NS - delay_ns), TARGET_NS)
    initiator = end(
        "initiator", by_then(INITIATOR_NS), arrived(INITIATOR_NS - delay_ns), INITIATOR_NS
    )
    return replace(good(), cable_ends=(initiator, target))


def still_for(seconds: float, start_ns: int = STILL_FROM) -> Measurements:
    """Nothing arrives at the initiator for that long; then all of it does."""

    def arrived(at_ns: Ints) -> Ints:
        still = (at_ns >= start_ns) & (at_ns < start_ns + seconds * NS_PER_S)
        return by_then(np.where(still, start_ns, at_ns))

    return with_cable(arrived)


def losing(frames: int) -> Measurements:
    """The initiator misses so many frames in the middle of the test, every second one at first."""

    def arrived(at_ns: Ints) -> Ints:
        missed = np.clip(by_then(at_ns) - by_then(INJECTED_NS), 0, 2 * frames) // 2
        return by_then(at_ns) - np.asarray(missed, dtype=np.int64)

    return with_cable(arrived)


def to_initiator(measured: Measurements) -> Direction:
    return next(d for d in directions(measured) if d.receiver.machine == "initiator")


def lost_by(measured: Measurements) -> Loss:
    """From the target to the initiator."""
    return loss(to_initiator(measured), measured)


def found(measured: Measurements, check: Check) -> Finding:
    return judge(measured, check).findings[0]


def test_a_cable_that_carries_everything_is_sound() -> None:
    """Both directions are judged, and their figures are told."""
    finding = found(with_cable(), cables_sound())
    assert finding.verdict is Verdict.PASS
    assert finding.figures.keys() == {
        "cable b, initiator to target",
        "cable b, target to initiator",
    }
    assert finding.numbers["b_target_to_initiator_frames_lost"] == 0
    assert finding.numbers["b_target_to_initiator_frames"] > 5000


def test_a_cable_that_stands_still_is_the_labs_fault() -> None:
    """Never the storage's: unknown, with the figures."""
    finding = found(still_for(2), cables_sound())
    assert finding.verdict is Verdict.UNKNOWN
    assert "the lab's cable b stood still" in finding.message
    assert "of the target had not arrived at the initiator after 1." in finding.message


@given(seconds=st.floats(0.7, 4.0))
def test_a_standstill_is_never_made_longer_than_it_was(seconds: float) -> None:
    """It is a lower bound, and a close one."""
    still = longest_standstill(to_initiator(still_for(seconds)))
    assert still is not None
    assert seconds - 0.45 <= still.seconds <= seconds + DELAY_NS / NS_PER_S
    assert still.count > 0


def test_a_cable_that_is_late_by_less_is_sound() -> None:
    """A busy host holds frames back for a moment."""
    assert found(still_for(0.4), cables_sound()).verdict is Verdict.PASS


def test_a_cable_on_which_nothing_is_sent_does_not_stand_still() -> None:
    """Silence alone proves nothing."""
    measured = with_cable(np.zeros_like)
    quiet = tuple(replace(e, beats=np.zeros_like(e.at_ns)) for e in measured.cable_ends)
    assert longest_standstill(to_initiator(replace(measured, cable_ends=quiet))) is None


@given(frames=st.integers(1, 500))
def test_lost_frames_are_counted(frames: int) -> None:
    """At most those that were lost; sampling hides no more than what was under way."""
    lost = lost_by(losing(frames)).lost
    assert lost <= frames <= lost + lost_by(losing(frames)).unproven


def test_frames_that_arrive_late_are_not_lost() -> None:
    """The receiver had no processor for a moment, just when the test ended."""
    late = END - 800 * NS_PER_MS
    measured = with_cable(lambda at_ns: by_then(np.minimum(at_ns, late)))
    assert lost_by(measured).lost == 0


def test_a_cable_of_a_further_initiator_is_told_by_the_name_of_the_machine() -> None:
    """There are several initiators then."""
    measured = losing(500)
    initiator, target = measured.cable_ends
    ends = (replace(initiator, machine="second"), target)
    message = found(replace(measured, cable_ends=ends), cables_sound()).message
    assert "frames from the target to initiator second" in message


def test_a_cable_that_loses_frames_is_the_labs_fault() -> None:
    """Unknown, with their number."""
    finding = found(losing(500), cables_sound())
    assert finding.verdict is Verdict.UNKNOWN
    assert "the lab's cable b lost " in finding.message
    assert "frames from the target to the initiator" in finding.message


@pytest.mark.parametrize("machine", ["initiator", "target"])
def test_what_is_sent_into_an_unplugged_cable_is_not_lost(machine: str) -> None:
    """A fault that pulls a cable is no fault of the cable, whichever end is pulled."""
    away = (INJECTED, INJECTED + 3 * NS_PER_S)

    def arrived(at_ns: Ints) -> Ints:
        before = by_then(np.minimum(at_ns, away[0]))
        return before + by_then(START + np.maximum(0, at_ns - away[1]))

    measured = with_cable(arrived)
    ends = tuple(
        replace(e, carrier=(e.at_ns < away[0]) | (e.at_ns > away[1])) if e.machine == machine else e
        for e in measured.cable_ends
    )
    assert found(replace(measured, cable_ends=ends), cables_sound()).verdict is Verdict.PASS


def test_a_cable_that_is_unplugged_all_the_time_is_not_judged() -> None:
    """Throughput with a dead path is measured so."""
    measured = losing(500)
    ends = tuple(replace(e, carrier=np.zeros_like(e.carrier)) for e in measured.cable_ends)
    assert found(replace(measured, cable_ends=ends), cables_sound()).verdict is Verdict.PASS


def test_a_machine_that_was_not_watched_is_no_witness() -> None:
    """A target that is paused receives nothing, and its counters are not sampled either."""
    measured = still_for(3)
    ends = []
    for one in measured.cable_ends:
        kept = (one.at_ns < STILL_FROM) | (one.at_ns > STILL_FROM + 3 * NS_PER_S)
        kept |= one.machine == "target"
        columns = (
            *("at_ns", "frames_sent", "frames_received"),
            *("bytes_sent", "bytes_received", "beats", "carrier"),
            *("dropped_sending", "dropped_receiving", "carrier_changes"),
        )
        ends.append(replace(one, **{name: getattr(one, name)[kept] for name in columns}))
    assert longest_standstill(to_initiator(replace(measured, cable_ends=tuple(ends)))) is None


def test_counters_that_begin_anew_lose_nothing() -> None:
    """A machine that was reset counts from zero."""

    def arrived(at_ns: Ints) -> Ints:
        return np.where(at_ns < INJECTED, by_then(at_ns), by_then(at_ns) - by_then(INJECTED_NS))

    assert lost_by(with_cable(arrived)).lost == 0


def test_a_cable_whose_ends_were_not_sampled_is_unknown() -> None:
    """Nothing seen is no pass."""
    measured = with_cable()
    ends = tuple(
        replace(e, at_ns=e.at_ns[:1]) if e.machine == "target" else e for e in measured.cable_ends
    )
    finding = found(replace(measured, cable_ends=ends), cables_sound())
    assert finding.verdict is Verdict.UNKNOWN
    assert "the end of the lab's cable b at the target was watched for 0% of" in finding.message


def test_a_cable_of_which_one_end_is_missing_is_unknown() -> None:
    """Nothing can be compared."""
    finding = found(replace(with_cable(), cable_ends=with_cable().cable_ends[:1]), cables_sound())
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == "the counters of the lab's cable b were not sampled at both ends"


def test_a_cable_that_was_watched_for_a_part_of_the_test_is_unknown() -> None:
    """In the rest anything may have happened."""
    measured = with_cable()
    ends = tuple(
        replace(e, at_ns=np.where(e.at_ns > INJECTED, e.at_ns + END, e.at_ns))
        for e in measured.cable_ends
    )
    finding = found(replace(measured, cable_ends=ends), cables_sound())
    assert finding.verdict is Verdict.UNKNOWN
    assert "at the target was watched for 2" in finding.message


def test_while_a_fault_disturbs_a_cable_it_is_not_judged() -> None:
    """Whatever the fault does there, it is not the cable's."""
    measured = still_for(2, start_ns=INJECTED + NS_PER_S)
    ends = tuple(replace(e, link="a") for e in measured.cable_ends)
    assert found(measured, cables_sound()).verdict is Verdict.UNKNOWN
    assert found(replace(measured, cable_ends=ends), cables_sound()).verdict is Verdict.PASS


def test_a_cable_that_was_pulled_for_a_moment_between_two_samples_lost_nothing() -> None:
    """The count of changes tells, though both samples show a carrier."""
    flap = INJECTED + 3 * NS_PER_S

    def arrived(at_ns: Ints) -> Ints:
        missed = np.clip(by_then(at_ns) - by_then(np.array(flap)), 0, 150)
        return by_then(at_ns) - np.asarray(missed, dtype=np.int64)

    measured = with_cable(arrived)
    ends = tuple(
        replace(e, carrier_changes=np.where(e.at_ns > flap, 3, 1)) for e in measured.cable_ends
    )
    assert lost_by(measured).lost > 0
    assert lost_by(replace(measured, cable_ends=ends)).lost == 0


def test_a_machine_whose_clock_moved_excuses_nothing() -> None:
    """It was paused, so that its times are wrong."""
    moved = (
        ClockReading("initiator", START, 0, 1_000_000),
        ClockReading("initiator", END, -3 * NS_PER_S, 1_000_000),
    )
    measured = replace(still_for(2, start_ns=INJECTED), clocks=moved)
    assert found(measured, no_stall_beyond(1.0)).verdict is Verdict.FAIL


def test_networks_that_are_not_the_labs_are_no_business_of_the_check() -> None:
    """A bridge or a switch is a part of what is tested."""
    finding = found(good(), cables_sound())
    assert (finding.verdict, finding.message) == (Verdict.PASS, "no cable is the lab's own")


def test_a_failure_is_unknown_if_a_cable_may_have_caused_it() -> None:
    """A stall proves nothing against the storage while the lab's cable stood still."""
    stalled = still_for(2, start_ns=INJECTED)
    check = no_stall_beyond(1.0)
    assert found(replace(stalled, cable_ends=()), check).verdict is Verdict.FAIL
    finding = found(stalled, check)
    assert finding.verdict is Verdict.UNKNOWN
    assert "I/O stalled" in finding.message
    assert "but the lab's cable b stood still" in finding.message


def test_a_cable_that_failed_at_another_time_excuses_nothing() -> None:
    """The stall is that of the fault, and the cable stood still before."""
    stalled = still_for(2)
    assert found(stalled, cables_sound()).verdict is Verdict.UNKNOWN
    assert found(stalled, no_stall_beyond(1.0)).verdict is Verdict.FAIL


def test_a_sending_nic_that_stands_still_is_seen() -> None:
    """Its counter of sent frames stands still with it: virtio counts what was completed."""
    measured = still_for(2)
    ends = tuple(
        replace(e, frames_sent=by_then(np.minimum(e.at_ns, STILL_FROM)))
        if e.machine == "target"
        else e
        for e in measured.cable_ends
    )
    finding = found(replace(measured, cable_ends=ends), cables_sound())
    assert "the lab's cable b stood still" in finding.message


@given(still_from=st.floats(2.0, 2.2), seconds=st.floats(1.0, 1.2))
def test_a_standstill_as_long_as_the_slack_is_found(still_from: float, seconds: float) -> None:
    """Wherever between two samples it begins."""
    measured = still_for(seconds, START + int(still_from * NS_PER_S))
    assert found(measured, cables_sound()).verdict is Verdict.UNKNOWN


def test_a_nic_that_drops_frames_is_the_labs_fault() -> None:
    """Unknown, with their number."""
    measured = with_cable()
    ends = tuple(
        replace(e, dropped_receiving=np.where(e.at_ns > INJECTED, 7, 0))
        if e.machine == "target"
        else e
        for e in measured.cable_ends
    )
    finding = found(replace(measured, cable_ends=ends), cables_sound())
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == "the lab's cable b: the NIC of the target dropped 7 frames"


def test_frames_that_may_have_been_lost_unseen_are_told() -> None:
    """Those that were under way at the edges of what was watched."""
    numbers = found(with_cable(), cables_sound()).numbers
    assert 0 < numbers["b_target_to_initiator_frames_unproven"] < FRAMES_PER_S


def test_no_cable_excuses_wrong_data() -> None:
    """Data must be intact whatever paths do."""
    wrong = ReadBack(
        acknowledged=100,
        verified=100,
        checked={MAP: 100, "a": 100, "b": 100},
        findings=(BlockFinding(4096, MAP, Damage.LOST),),
    )
    assert found(replace(still_for(2), read_back=wrong), data_intact()).verdict is Verdict.FAIL


FAILING = Finding("any", Verdict.FAIL, "too bad")


@pytest.mark.parametrize("check", [*promise_kept(), *undisturbed(1.0)], ids=lambda c: c.name)
def test_the_lab_can_excuse_paths_and_time_only(check: Check) -> None:
    """Data, errors, sessions and kernels are the storage's own, whatever a cable does."""
    excused = found(still_for(2), replace(check, judge=lambda _: FAILING)).verdict
    its_own = {"data intact", "no I/O errors", "sessions as planned", "kernel sound"}
    its_own |= {check.name for check in lab_sound()}
    assert excused is (Verdict.FAIL if check.name in its_own else Verdict.UNKNOWN)


def test_both_promises_ask_about_the_cables() -> None:
    """Without that check no failure of a path is the storage's."""
    for promise in (promise_kept(), undisturbed(1.0)):
        assert "cables sound" in {check.name for check in promise}
