"""Whether the disks that the lab lends to the target did what they were asked; pure.

A target VM stores its LUN on a disk that is a file of this host. If the host is slow to write that
file, the target waits, and looks like a storage that stalls.
"""

from __future__ import annotations

import numpy as np

from harness.measurements import LabDisk, Measurements
from harness.standstill import LONGEST_STANDSTILL_S, WATCHED_NS, Standstill, stretches


def longest_disk_standstill(disk: LabDisk) -> Standstill | None:
    """The longest time for which I/O waited and none was completed; None if there was none.

    A lower bound, since only samples count. Only while the machine was sampled without a gap.
    """
    if len(disk.at_ns) < 2:
        return None
    waiting = disk.in_flight > 0
    still = (
        (np.diff(disk.completed) == 0)
        & (np.diff(disk.at_ns) <= WATCHED_NS)
        & waiting[:-1]
        & waiting[1:]
    )
    found = [
        Standstill(int(disk.at_ns[first]), int(disk.at_ns[last]), int(disk.in_flight[first]))
        for first, last in stretches(still)
    ]
    return max(found, key=lambda one: one.seconds, default=None)


def disk_problems(measurements: Measurements) -> list[str]:
    """What is wrong with the lab's own disks, as far as it was seen."""
    return [
        f"the lab's disk {disk.disk} of the {disk.machine} stood still: none of {still.count} I/Os "
        f"was completed for {still.seconds:.2f} s"
        for disk in measurements.lab_disks
        if (still := longest_disk_standstill(disk)) and still.seconds > LONGEST_STANDSTILL_S
    ]
