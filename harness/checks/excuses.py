"""What puts a failure in doubt, so that it proves nothing against the storage."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TypeVar

from harness.analysis.cables import cable_faults
from harness.analysis.lab_disks import disk_faults
from harness.analysis.unplanned_disks import unplanned_faults
from harness.checks.definition import Finding
from harness.checks.outcome import Outcome, Verdict
from harness.measurements import Measurements

Judged = TypeVar("Judged", Finding, Outcome)


def unless_ios_are_missing(judged: Judged, measurements: Measurements) -> Judged:
    """A failure proves nothing where fio's log lacks I/Os: each may be what seems not to be there.

    One that was forced is sure all the same: the I/O hung beyond its end.
    """
    lacking = [repr(stream.name) for stream in measurements.streams if not stream.whole]
    if judged.verdict is not Verdict.FAIL or not lacking or measurements.errors_forced:
        return judged
    text = f"{judged.message}; but fio's log and report of job {' and '.join(lacking)} differ"
    return replace(judged, verdict=Verdict.UNKNOWN, message=text)


def unless_the_lab_did_it(
    judged: Judged, measurements: Measurements, *, by_path: bool = False
) -> Judged:
    """A failure proves nothing against the storage if a part of the lab failed at that time.

    Nor if I/O went over a disk then that was not planned, unless each path is judged `by_path`.
    """
    if judged.verdict is not Verdict.FAIL:
        return judged
    faults = [
        str(fault)
        for fault in chain(
            cable_faults(measurements),
            disk_faults(measurements),
            () if by_path else unplanned_faults(measurements),
        )
        if fault.overlaps(judged.span_ns)
    ]
    if not faults:
        return judged
    text = f"{judged.message}; but {'; '.join(faults)}"
    return replace(judged, verdict=Verdict.UNKNOWN, message=text)
