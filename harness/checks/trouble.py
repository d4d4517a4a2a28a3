"""Whether anything happened to a path at a time when no fault hit it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.fault_effect import without_effect
from harness.analysis.path_absences import excused_until_ns, felt_until_ns
from harness.analysis.stall import LongIo, waits_of
from harness.checks.definition import check
from harness.checks.kernel import unread_kernel_logs
from harness.checks.outcome import Outcome, failed, passed, unknown
from harness.checks.path_loss import caused
from harness.measurements import DiskError, FaultRecord, Measurements
from harness.timeline import Happened
from harness.units import NS_PER_S

# What a path went through may be logged, or sampled, a little later than it is back.
_LATE_NS = NS_PER_S
_SHOWN = 5
_TROUBLE = {
    Happened.CONNECTION_ERROR,
    Happened.RECOVERY_TIMED_OUT,
    Happened.SESSION_RECOVERED,
}


@check("no trouble without a fault", through_the_lab=True, by_path=True)
def no_trouble_without_a_fault(measurements: Measurements) -> Outcome:
    """Nothing happened to a path while no fault hit it, though I/O may have gone on regardless.

    No connection error, no session that had to recover, no error, retry or reset of a path's disk.
    From the first I/O to the last; paths that were given up are for *no unexpected path loss*.
    """
    if not measurements.kernel_logs or not measurements.counters:
        return unknown("no kernel log was followed, or no path is known")
    found = sorted(_trouble(measurements), key=lambda one: one.at_ns)
    figures = {"signs of trouble": str(len(found))}
    numbers = {"signs_of_trouble": len(found)}
    if found:
        begun_ns = measurements.phases[0].start_ns
        text = "; ".join(
            f"path {one.path} at {(one.at_ns - begun_ns) / NS_PER_S:.2f} s: {one.text}"
            for one in found[:_SHOWN]
        )
        if len(found) > _SHOWN:
            text += f"; and {len(found) - _SHOWN} more"
        missed = [m for f in measurements.faults if (m := without_effect(measurements, f))]
        if missed:  # it may have hit these instead
            return unknown(f"{text}; but {'; '.join(missed)}", figures, numbers)
        span_ns = caused(measurements, found[0].at_ns, found[-1].at_ns)
        return failed(text, figures, numbers, span_ns)
    if unread := unread_kernel_logs(measurements):
        return unknown("; ".join(unread), figures, numbers)
    return passed("nothing happened to any path while no fault hit it", figures, numbers)


def _trouble(measurements: Measurements) -> Iterator[DiskError]:
    """What happened to planned paths while I/O ran and no fault hit them."""
    if not measurements.phases:
        return
    planned = {counters.path for counters in measurements.counters}
    told = [
        DiskError(event.path, event.at_ns, f"{event.what}: {event.detail}")
        for event in measurements.timeline
        if event.what in _TROUBLE and event.path in planned
    ]
    told += measurements.disk_errors
    submitted = [int(w.start_ns.min()) for w in waits_of(measurements, LongIo) if len(w.start_ns)]
    begun_ns = min(submitted, default=measurements.phases[0].start_ns)
    for one in told:
        if begun_ns <= one.at_ns <= measurements.phases[-1].end_ns and not any(
            _explains(measurements, fault, one) for fault in measurements.faults
        ):
            yield one


def _explains(measurements: Measurements, fault: FaultRecord, one: DiskError) -> bool:
    """Whether a fault hit the path then, or it was not back yet."""
    if one.path not in fault.paths:
        return False
    until_ns = excused_until_ns(measurements, fault, one.path)
    if until_ns == felt_until_ns(fault):
        # It was not given up, so no line tells when it was back.
        back_ns = fault.healing_confirmed_ns + fault.returning.seconds * NS_PER_S
        until_ns = max(until_ns, back_ns)
    return fault.injected_ns <= one.at_ns <= until_ns + _LATE_NS
