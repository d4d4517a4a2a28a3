"""What is told of the lab's own cables: how many, and what became of the frames on each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.checks import Verdict, cables_sound
from harness.measurements import Measurements
from suites.selftest.unit.judged import found
from suites.selftest.unit.test_lab_cables import losing, with_cable


def with_cables(count: int) -> Measurements:
    """Each as good as the first."""
    measured = with_cable()
    ends = (replace(e, link=f"b{n}") for n in range(count) for e in measured.cable_ends)
    return replace(measured, cable_ends=tuple(ends))


@pytest.mark.parametrize(("count", "told"), [(1, "1 cable"), (2, "2 cables")])
def test_sound_cables_are_told_by_their_number(count: int, told: str) -> None:
    finding = found(cables_sound(), with_cables(count))
    assert finding.verdict is Verdict.PASS
    assert finding.message == (
        f"on {told} no frame was seen to be lost or dropped, and none waited longer than 0 ms"
    )


def frames_told(measured: Measurements) -> tuple[str, dict[str, int]]:
    """What is told of the frames to the initiator, and the numbers of that direction."""
    finding = found(cables_sound(), measured)
    prefix = "b_target_to_initiator_frames"
    numbers = {
        name.removeprefix(prefix).removeprefix("_"): int(number)
        for name, number in finding.numbers.items()
        if name.startswith(prefix)
    }
    return finding.figures["cable b, target to initiator"], numbers


def test_frames_that_are_lost_or_unproven_did_not_arrive() -> None:
    told, numbers = frames_told(losing(500))
    sent, lost, unproven = numbers[""], numbers["lost"], numbers["unproven"]
    assert lost > 0
    assert unproven > 0
    assert f" {sent - lost - unproven} are proven to have arrived, {lost} to be lost, " in told
    assert f" {unproven} neither" in told


def test_no_frame_is_told_to_be_lost_where_none_is() -> None:
    told, numbers = frames_told(with_cable())
    arrived = numbers[""] - numbers["unproven"]
    assert f" {arrived} are proven to have arrived, none to be lost, " in told


def test_of_frames_that_are_all_lost_none_arrived() -> None:
    told, numbers = frames_told(with_cable(np.zeros_like))
    assert f" 0 are proven to have arrived, {numbers['lost']} to be lost, " in told


def test_what_a_nic_had_dropped_before_the_first_sample_does_not_count() -> None:
    """And what it dropped before the second one does."""
    measured = with_cable()
    initiator, target = measured.cable_ends
    dropped = np.full_like(initiator.dropped_sending, 9)
    dropped[0] = 7
    ends = (replace(initiator, dropped_sending=dropped), target)
    numbers = found(cables_sound(), replace(measured, cable_ends=ends)).numbers
    assert numbers["b_initiator_to_target_dropped_by_initiator"] == 2
