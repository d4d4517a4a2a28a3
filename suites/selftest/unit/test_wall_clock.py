"""What happened is told with the clock that a machine's own logs have, and with the path."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from harness.analysis.wall_clock import at_clock, seen_by, wall_clock
from harness.checks import kernel_sound, no_unexpected_path_loss
from harness.measurements import ClockReading, DiskError, KernelLog, KernelMessage, Measurements
from harness.reporting.kernel_log_text import kernel_log_text
from harness.reporting.timeline_csv import timeline_csv
from harness.timeline import Event, Happened, Timeline
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import found, good
from suites.selftest.unit.synthetic_failover import HEALED, INJECTED, START, nothing_measured

OOPS = KernelMessage(INJECTED, 4, "BUG: unable to handle page fault")


def with_clock(machine: str, *offsets_s: float) -> Measurements:
    """Its monotonic clock is so far ahead of the host's, at the start and 10 s later."""
    readings = tuple(
        ClockReading(machine, START + n * 10 * NS_PER_S, round(offset * NS_PER_S), 1)
        for n, offset in enumerate(offsets_s)
    )
    return replace(good(), clocks=readings)


def test_a_time_is_told_by_the_machines_own_clock() -> None:
    """Its wall clock is 1.7e9 s ahead of its monotonic one, and that 1 s ahead of the host's."""
    assert wall_clock(good(), START) == "2023-11-14T23:36:41.000Z"
    assert wall_clock(good(), START + 1_234 * NS_PER_MS) == "2023-11-14T23:36:42.234Z"
    assert wall_clock(with_clock("target", 3.0), START, "target") == "2023-11-14T23:36:43.000Z"


def test_a_drift_between_two_readings_is_even() -> None:
    measured = with_clock("initiator", 1.0, 3.0)
    assert wall_clock(measured, START + 5 * NS_PER_S) == "2023-11-14T23:36:47.000Z"


def test_a_wall_clock_that_was_set_is_told_as_it_was_then() -> None:
    """By the last sample until then."""
    measured = good()
    first, *others = measured.watching
    ahead = first.wall_ahead_ns.copy()
    ahead[first.at_ns > INJECTED] += 3600 * NS_PER_S
    later = replace(measured, watching=(replace(first, wall_ahead_ns=ahead), *others))
    assert wall_clock(later, INJECTED) == "2023-11-14T23:36:47.000Z"
    assert wall_clock(later, INJECTED + NS_PER_S) == "2023-11-15T00:36:48.000Z"


def test_a_clock_that_is_not_known_is_not_told() -> None:
    """Nobody read the target's, and nobody watched."""
    assert wall_clock(good(), START, "target") == ""
    assert wall_clock(nothing_measured(), START) == ""
    event = Event(START, Happened.KERNEL_TROUBLE, "target kernel", "x")
    assert seen_by(good(), event) == "target"
    assert at_clock(good(), event) == ""


def test_events_have_their_path_and_the_wall_clock() -> None:
    """A fault has the paths that it hits; what no kernel told has the initiator's clock."""
    listed = list(csv.DictReader(io.StringIO(timeline_csv(named()))))
    told = {row["event"]: (row["path"], row["wall_clock"]) for row in listed}
    assert told["connection error"] == ("a", "2023-11-14T23:36:48.990Z")
    assert told["path failed"] == ("a", "2023-11-14T23:36:49.910Z")
    assert told["fault injected"] == ("a", "2023-11-14T23:36:47.000Z")
    assert told["I/O started"] == ("", "2023-11-14T23:36:41.000Z")


def named() -> Measurements:
    """As assembled: the kernel's events have the machine, and the fault's its name."""
    measured = good()
    of_faults = {Happened.FAULT_INJECTED, Happened.FAULT_HEALED}
    events = [
        replace(event, source="harness", detail="SilentDrop(a)")
        if event.what in of_faults
        else replace(event, source="initiator kernel" if event.path else "fio")
        for event in measured.timeline
    ]
    return replace(measured, timeline=Timeline.of(events))


@pytest.mark.parametrize(
    ("text", "at_s", "path"),
    [
        ("connection1:0: detected conn error (1022)", 1.98, "a"),
        ("connection9:0: detected conn error (1022)", 1.98, ""),
        ("device-mapper: multipath: 253:0: Failing path 8:0.", 2.91, "a"),
        ("device-mapper: multipath: 253:9: Failing path 8:0.", 5.0, ""),
        ("sd 1:0:0:0: [sdb] Synchronizing SCSI cache", 5.0, "b"),
        ("sd 1:0:0:0: Power-on or device reset occurred", 6.0, "a or b"),
        ("sdz is another's, and so is sdbb", 5.0, ""),
    ],
)
def test_a_record_of_the_kernel_log_names_its_path(text: str, at_s: float, path: str) -> None:
    """By the event that was made of it, or by the disk that it names."""
    at_ns = INJECTED + round(at_s * NS_PER_S)
    log = KernelLog("initiator", (KernelMessage(at_ns, 3, text),), lost=0)
    reset = DiskError(
        ("a", "b"), INJECTED + 6 * NS_PER_S, "sd 1:0:0:0: Power-on or device reset occurred"
    )
    *_, line = kernel_log_text(log, replace(named(), disk_errors=(reset,))).splitlines()
    about = f"[path {path}] " if path else ""
    assert line.endswith(f"Z  <3> {about}{text}")
    assert f"{at_s:.3f} s  2023-11-14T23:36:" in line


def test_the_targets_log_names_no_path() -> None:
    """Its disks have names of their own."""
    log = KernelLog("target", (KernelMessage(INJECTED, 3, "sdb: reset"),), lost=0)
    assert "[path " not in kernel_log_text(log, good()).splitlines()[-1]


def test_checks_that_fail_tell_when_it_was() -> None:
    measured = good()
    log, *others = measured.kernel_logs
    spoilt = replace(measured, kernel_logs=(replace(log, messages=(OOPS,)), *others))
    finding = found(kernel_sound(), spoilt)
    assert finding.message == f"initiator: {OOPS.text} (2023-11-14T23:36:47.000Z)"
    lost = Event(HEALED + 6 * NS_PER_S, Happened.PATH_FAILED, "initiator kernel", "b", path="b")
    back = replace(lost, at_ns=lost.at_ns + 10 * NS_PER_MS, what=Happened.PATH_REINSTATED)
    spoilt = replace(measured, timeline=Timeline.of([*measured.timeline, lost, back]))
    assert found(no_unexpected_path_loss(), spoilt).message == (
        "paths failed without a fault there: b (2023-11-14T23:37:07.000Z)"
    )
