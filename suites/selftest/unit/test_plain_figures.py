"""Figures of checks that passed say what they count, so that they alarm nobody."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest

from harness.checks import (
    Verdict,
    cables_sound,
    fault_took_effect,
    no_unexpected_path_loss,
)
from harness.measurements import Measurements
from harness.reporting.evidence import path_bytes_csv
from harness.timeline import Event, Happened, Timeline
from harness.units import MIB, NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import carrying, found, good, with_counters
from suites.selftest.unit.synthetic_failover import INJECTED
from suites.selftest.unit.test_lab_cables import with_cable


def test_frames_are_proven_to_arrive_or_to_be_lost_or_neither() -> None:
    """The three add up to those that were sent."""
    finding = found(cables_sound(), with_cable())
    key = "b_target_to_initiator_frames"
    sent, unproven = int(finding.numbers[key]), int(finding.numbers[f"{key}_unproven"])
    told = finding.figures["cable b, target to initiator"]
    assert told.startswith(f"of {sent} frames sent (")
    assert f" {sent - unproven} are proven to have arrived, none to be lost, {unproven} nei" in told


def test_a_sound_cable_says_what_was_seen() -> None:
    """Single frames are for the figures."""
    message = found(cables_sound(), with_cable()).message
    assert re.fullmatch(
        r"on 1 cable no frame was seen to be lost or dropped, and none waited longer than \d+ ms",
        message,
    )
    assert found(cables_sound(), good()).message == "no cable is the lab's own"


def failed_again(measured: Measurements) -> Measurements:
    """Path a, which had failed, and is back for a moment, while its fault lasts."""
    at_ns = INJECTED + 11 * NS_PER_S
    source = "initiator kernel"
    events = (
        Event(at_ns, Happened.PATH_REINSTATED, source, "a", path="a"),
        Event(at_ns + 10 * NS_PER_MS, Happened.PATH_FAILED, source, "a", path="a"),
    )
    return replace(measured, timeline=Timeline.of([*measured.timeline, *events]))


def test_failed_paths_are_counted_as_paths() -> None:
    """By their names; one that failed twice is one path."""
    finding = found(no_unexpected_path_loss(), good())
    assert finding.message == "failed paths, each hit by a fault: a"
    twice = found(no_unexpected_path_loss(), failed_again(good()))
    assert twice.verdict is Verdict.PASS, twice.message
    assert twice.message == "failed paths, each hit by a fault: a (2 times)"
    assert twice.figures["failed paths"] == "a (2 times)"
    assert twice.figures["of these unexpected"] == "none"
    assert twice.numbers["paths_given_up"] == 2


@pytest.mark.parametrize("path", ["a", "b"])
def test_the_table_of_bytes_has_what_the_check_judged(path: str) -> None:
    """In a row of its own beside all of the phase, which begins before the fault acts."""
    measured = with_counters(
        good(), "a", lambda c: carrying(c, INJECTED - NS_PER_S, INJECTED + 50 * NS_PER_MS, 3 * MIB)
    )
    finding = found(fault_took_effect(), measured)
    assert finding.verdict is Verdict.PASS, finding.message
    disk = {"a": "sda", "b": "sdb"}[path]
    figure = f"path {path} ({disk}), phase 'before' / while SilentDrop(a) was in force"
    assert figure in finding.figures
    rows = csv.DictReader(io.StringIO(path_bytes_csv(measured)))
    table = {row["stretch"]: row[f"path {path} ({disk}) MiB"] for row in rows}
    (in_force,) = [text for stretch, text in table.items() if "SilentDrop(a) in force" in stretch]
    judged = finding.numbers[f"during_SilentDrop(a)_{path}_bytes"] / MIB
    assert float(in_force) == pytest.approx(judged, abs=0.006)
    if path == "a":
        assert float(table["all of phase 'during'"]) > float(in_force) == 0
    assert {stretch for stretch in table if "in force" in stretch} == {
        "SilentDrop(a) in force, but for 250 ms at its start and round each path failure"
    }
