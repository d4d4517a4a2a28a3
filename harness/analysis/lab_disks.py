"""Whether the disks that the lab lends to the target did what they were asked; pure.

A target VM stores its LUN on a disk that is a file of this host. If the host is slow to write that
file, the target waits, and looks like a storage that stalls.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.analysis.clocks import steady
from harness.analysis.lab_faults import (
    LONGEST_STANDSTILL_S,
    WATCHED_NS,
    LabFault,
    Standstill,
    stretches,
)
from harness.measurements import LabDisk, Measurements
from harness.topology import called


def disk_standstills(disk: LabDisk) -> Iterator[Standstill]:
    """The times for which I/O waited and none was completed.

    A lower bound, since only samples count. Only while the machine was sampled without a gap.
    """
    if len(disk.at_ns) < 2:
        return
    waiting = disk.in_flight > 0
    still = (
        (np.diff(disk.completed) == 0)
        & (np.diff(disk.at_ns) <= WATCHED_NS)
        & waiting[:-1]
        & waiting[1:]
    )
    for first, last in stretches(still):
        start_ns, end_ns = int(disk.at_ns[first]), int(disk.at_ns[last])
        yield Standstill(start_ns, end_ns, int(disk.in_flight[first]))


def longest_disk_standstill(disk: LabDisk) -> Standstill | None:
    """The longest of `disk_standstills`; None if there was none."""
    return max(disk_standstills(disk), key=lambda one: one.seconds, default=None)


def disk_faults(measurements: Measurements) -> Iterator[LabFault]:
    """What the lab's own disks did wrong, as far as it was seen: not what a fault held up."""
    for disk in measurements.lab_disks:
        if not steady(measurements, disk.machine):
            continue
        for still in disk_standstills(disk):
            if still.seconds > LONGEST_STANDSTILL_S and not held_up(measurements, still):
                yield LabFault(
                    f"the lab's disk {disk.disk} of {called(disk.machine)} stood still: none of "
                    f"{still.count} I/Os was completed for {still.seconds:.2f} s",
                    still.start_ns,
                    still.end_ns,
                )


def held_up(measurements: Measurements, still: Standstill) -> bool:
    """Whether a fault held up the disks at that time. What waited is done a little after it."""
    return any(
        fault.disks_held
        and still.end_ns >= fault.injected_ns
        and still.start_ns <= fault.healing_confirmed_ns
        for fault in measurements.faults
    )
