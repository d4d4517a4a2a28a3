"""Disks of the map that were not planned: what they did, the planned paths did not do; pure.

The preflight refuses such a disk. But on a machine that others use, one may come while a test runs:
somebody logs in to another portal of the array, and its disk joins the map. Its
session has other timeouts, and fio's I/O goes over it, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.lab_faults import LabFault
from harness.measurements import Measurements


def unplanned_faults(measurements: Measurements) -> Iterator[LabFault]:
    """The times when I/O of the map went over such a disk, or could have."""
    for disk in measurements.unplanned_disks:
        yield LabFault(str(disk), disk.start_ns, disk.end_ns)
