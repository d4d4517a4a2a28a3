"""Whether the lab's own disks are to blame. Of the storage it says nothing."""

from __future__ import annotations

from harness.analysis.lab_disks import disk_faults, held_up, longest_disk_standstill
from harness.checks.definition import check
from harness.checks.outcome import Outcome, passed, unknown
from harness.measurements import Measurements
from harness.topology import called
from harness.units import format_seconds


@check("lab disks sound")
def lab_disks_sound(measurements: Measurements) -> Outcome:
    """No disk that the lab lends to the target stood still for half a second, but for a fault.

    Never fails: such a disk is the lab's fault, so nothing can be told. Passes where the target
    is an existing one: its disks are a part of what is tested.
    """
    figures: dict[str, str] = {}
    numbers: dict[str, float] = {}
    problems = []
    for disk in measurements.lab_disks:
        still = longest_disk_standstill(disk)
        waited_s = still.seconds if still else 0.0
        why = " (held up by a fault)" if still and held_up(measurements, still) else ""
        figures[f"{disk.disk} of {called(disk.machine)}"] = (
            f"longest standstill {format_seconds(waited_s)}{why}"
        )
        numbers[f"{disk.disk}_longest_standstill_s"] = waited_s
        if len(disk.at_ns) < 2:
            problems.append(f"the lab's disk {disk.disk} of {called(disk.machine)} was not sampled")
    problems += map(str, disk_faults(measurements))
    if problems:
        return unknown("; ".join(problems), figures, numbers)
    text = "; ".join(f"{what}: {value}" for what, value in figures.items())
    return passed(text or "no disk is the lab's own", figures, numbers)
