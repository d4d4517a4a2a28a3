"""What puts a failure in doubt, so that it proves nothing against the storage."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TypeVar

from harness.analysis.lab_cables import cable_faults
from harness.analysis.lab_disks import disk_faults
from harness.analysis.sampling import LONGEST_GAP_NS, longest_gap_ns
from harness.analysis.unplanned_disks import unplanned_faults
from harness.checks.definition import Finding
from harness.checks.outcome import Outcome, Verdict
from harness.measurements import Measurements
from harness.timeline import Phase
from harness.topology import called
from harness.units import NS_PER_S

Judged = TypeVar("Judged", Finding, Outcome)
# A healthy run on two cores shows a quarter, as guests also wait for their own I/O threads. With
# two testbeds there it was 55 to 70 %, and a third of all comparisons went wrong.
_MOST_STEAL = 0.6
# A failure needs a quieter host than a pass: 48 % after a fault made reads three times as slow.
_MOST_STEAL_TO_FAIL = 0.4
# And one that was about as quiet as before: 26 % before and 48 % after did the same.
_MOST_MORE_STEAL = 0.1


def unless_ios_are_missing(judged: Judged, measurements: Measurements) -> Judged:
    """A failure proves nothing where fio's log lacks I/Os: each may be what seems not to be there.

    One that was forced is sure all the same: the I/O hung beyond its end.
    """
    lacking = [repr(stream.name) for stream in measurements.streams if not stream.whole]
    if judged.verdict is not Verdict.FAIL or not lacking or measurements.errors_forced:
        return judged
    text = f"{judged.message}; but fio's log and report of job {' and '.join(lacking)} differ"
    return replace(judged, verdict=Verdict.UNKNOWN, message=text)


def unless_samples_are_missing(judged: Judged, measurements: Measurements) -> Judged:
    """A failure by counters and states proves nothing where they were not sampled for a while."""
    if judged.verdict is not Verdict.FAIL:
        return judged
    gaps = [
        f"{called(watching.machine)} was not watched to the end: {watching.died}"
        if watching.died
        else f"no sample of {called(watching.machine)} for {gap_ns / NS_PER_S:.1f} s"
        for watching in measurements.watching
        if (gap_ns := longest_gap_ns(watching, measurements.processors)) > LONGEST_GAP_NS
        or watching.died
    ]
    if not gaps:
        return judged
    text = f"{judged.message}; but {'; '.join(gaps)}"
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


def steal_against_failure(measurements: Measurements, start_ns: int, end_ns: int) -> float:
    """The share of processor time that the host held back, if too much for a failure; else 0."""
    if measurements.processors is None:
        return 0.0
    steal = measurements.processors.steal(start_ns, end_ns)
    return steal if steal > _MOST_STEAL_TO_FAIL else 0.0


def disturbed(
    measurements: Measurements, before: Phase, after: Phase, figures: dict[str, str]
) -> str:
    """Why the host may be what made `after` worse than `before`, or nothing; for failures."""
    if lean := starved(measurements, after, figures, recovered=False):
        return lean
    if measurements.processors is None:
        return ""
    was, became = (
        measurements.processors.steal(phase.start_ns, phase.end_ns) for phase in (before, after)
    )
    figures[f"steal {before.name}"] = f"{was:.0%}"
    if became <= was + _MOST_MORE_STEAL:
        return ""
    return (
        f"but {_when(after)} the host held back {became:.0%} of the processor time that the "
        f"machines wanted, and {was:.0%} {_when(before)}: too different to compare"
    )


def starved(
    measurements: Measurements, phase: Phase, figures: dict[str, str], *, recovered: bool
) -> str:
    """Why a phase tells nothing of the storage, or nothing; its steal is noted in `figures`.

    A phase without processors looks slow: before the fault that may hide a loss, afterwards it
    may be taken for one.
    """
    if measurements.processors is None:
        return ""
    steal = measurements.processors.steal(phase.start_ns, phase.end_ns)
    figures[f"steal {phase.name}"] = f"{steal:.0%}"
    if steal <= (_MOST_STEAL if recovered else _MOST_STEAL_TO_FAIL):
        return ""
    return (
        f"but {_when(phase)} the host held back {steal:.0%} of the processor time that the "
        "machines wanted: too busy to compare"
    )


def _when(phase: Phase) -> str:
    """As a part of a sentence: "before the fault", "after the fault", "during LinkDown(a)"."""
    return f"{phase.name} the fault" if phase.name in {"before", "after"} else phase.name
