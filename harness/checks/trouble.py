"""Whether anything happened to a path at a time when no fault hit it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from harness.analysis.fault_effect import without_effect
from harness.analysis.path_absences import excused_until_ns, first_given_up_ns, too_late_ns
from harness.analysis.recovery import first_felt_ns
from harness.analysis.reserve_changes import LATE_NS, reserve_changes, swaps
from harness.analysis.wall_clock import wall_clock
from harness.checks.definition import check
from harness.checks.excuses import (
    steal_against_failure,
    unless_samples_are_missing,
    unless_the_lab_did_it,
)
from harness.checks.kernel import MAP_UNSEEN, unread_kernel_logs
from harness.checks.outcome import Outcome, failed, first_bad, passed, unknown
from harness.checks.path_loss import caused
from harness.checks.waits import waited
from harness.measurements import FaultRecord, Measurements
from harness.timeline import Happened
from harness.units import NS_PER_S

_SHOWN = 5
_TROUBLE = {
    Happened.CONNECTION_ERROR,
    Happened.RECOVERY_TIMED_OUT,
    Happened.SESSION_RECOVERED,
}


@dataclass(frozen=True)
class _Sign:
    """A sign of trouble on a path; `what` is None for what the kernel said of the path's disk.

    `paths` has several names if it is not known which of them had that disk.
    """

    paths: tuple[str, ...]
    at_ns: int
    text: str
    what: Happened | None = None


@check("no trouble without a fault", through_the_lab=True, by_path=True)
def no_trouble_without_a_fault(measurements: Measurements) -> Outcome:
    """Nothing happened to a path while no fault hit it, though I/O may have gone on regardless.

    No connection error, no session that had to recover, no error, retry or reset of a path's disk.
    From the first I/O to the last; paths that failed are for *no unexpected path loss*.
    A connection may also drop since the host gave a machine no processor while a timeout ran:
    unknown, with all that follows from it.
    Nor did I/O move from one group of paths to another and back; a single move is unknown.
    """
    if not measurements.kernel_logs or not measurements.counters:
        return unknown("no kernel log was followed, or no path is known")
    found = sorted(_trouble(measurements), key=lambda one: one.at_ns)
    outcomes = (_happened(measurements, found), _changed(measurements), _unseen(measurements))
    # One by one: what excuses the first says nothing of the second.
    judged = [unless_the_lab_did_it(o, measurements, by_path=True) for o in outcomes if o]
    outcome = first_bad(judged) or passed("nothing happened to any path while no fault hit it")
    figures = {"signs of trouble": str(len(found))}
    return replace(outcome, figures=figures, numbers={"signs_of_trouble": len(found)})


def _unseen(measurements: Measurements) -> Outcome | None:
    """The outcome if something may have happened that nobody saw."""
    unseen = list(unread_kernel_logs(measurements))
    if not measurements.path_states:
        unseen.append(MAP_UNSEEN)
    elif all(look.reserve is None for look in measurements.path_states):
        unseen.append("no sample shows which group of paths was in use")
    return unknown("; ".join(unseen)) if unseen else None


def _happened(measurements: Measurements, found: Sequence[_Sign]) -> Outcome | None:
    """The outcome of signs of trouble, if there are any."""
    if not found:
        return None
    doubts = [_doubt(measurements, one, found) for one in found]
    sure = [one for one, doubt in zip(found, doubts, strict=True) if not doubt]
    told = sure or found
    text = _listed(
        f"path {' or '.join(one.paths)} at {_when(measurements, one.at_ns)}: {one.text}"
        for one in told
    )
    missed = [m for f in measurements.faults if (m := without_effect(measurements, f))]
    if missed:  # it may have hit these instead
        return unknown(f"{text}; but {'; '.join(missed)}")
    if not sure:
        return unknown(f"{text}; but {doubts[0]}")
    return failed(text, span_ns=caused(measurements, sure[0].at_ns, sure[-1].at_ns))


def _changed(measurements: Measurements) -> Outcome | None:
    """The outcome if a path went into reserve, or came into use, though no fault explains it.

    It fails only if a path went and came back, and nothing else had happened before. A disk that
    was not planned may have changed the groups; and where samples are missing, something else may
    have happened unseen.
    """
    found = reserve_changes(measurements)
    if not found:
        return None
    begun_ns = measurements.phases[0].start_ns
    sure = swaps(measurements)
    told = sure or found
    text = _listed(f"{change} at {_when(measurements, change.at_ns)}" for change in told)
    if not sure:
        return unknown(f"{text}; but that may be a failback that was due")
    doubts = unread_kernel_logs(measurements) or list(map(str, measurements.unplanned_disks))
    if doubts:
        return unknown(f"{text}; but {'; '.join(doubts)}")
    start_ns, end_ns = sure[0].at_ns, sure[-1].at_ns
    if steal := steal_against_failure(measurements, begun_ns, end_ns):
        return unknown(f"{text}; but the host kept {steal:.0%} of the processor time until then")
    outcome = failed(text, span_ns=caused(measurements, start_ns, end_ns))
    return unless_samples_are_missing(outcome, measurements)


def _when(measurements: Measurements, at_ns: int) -> str:
    """Seconds since the first phase began, and the initiator's wall clock."""
    clock = wall_clock(measurements, at_ns)
    return f"{(at_ns - measurements.phases[0].start_ns) / NS_PER_S:.2f} s" + (
        f" ({clock})" if clock else ""
    )


def _listed(texts: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    told = list(texts)
    more = [f"and {len(told) - _SHOWN} more"] if len(told) > _SHOWN else []
    return "; ".join([*told[:_SHOWN], *more])


def _doubt(measurements: Measurements, one: _Sign, found: Sequence[_Sign]) -> str:
    """Why it is no sure sign of trouble, or empty.

    It is not known whose it is, or the host may have made a connection drop, with all that
    followed from that.
    """
    if len(one.paths) > 1:
        return "each of them had a disk of that name"
    begun: _Sign | None = None
    for sign in found:
        if sign.paths != one.paths or sign.at_ns > one.at_ns:
            continue
        if sign.what is Happened.CONNECTION_ERROR:
            begun = sign
        elif sign.what is Happened.SESSION_RECOVERED and one.at_ns > sign.at_ns + LATE_NS:
            begun = None  # that drop is over
    if begun is None:
        begun = one
    return _starved(measurements, begun) if begun.what else ""


def _starved(measurements: Measurements, one: _Sign) -> str:
    """How the host kept the machines from answering in time, or empty.

    Its processors were gone for at least the shortest timeout of the path's session, in the time
    in which that gives a silent path up; or they were shared too much for any failure.
    """
    timeouts = [
        [timeout.seconds for timeout in session.timeouts if isfinite(timeout.seconds)]
        for session in measurements.settings
        if session.path in one.paths
    ]
    longest_s = max(map(sum, timeouts), default=0.0)
    if not longest_s:
        return ""
    start_ns = one.at_ns - int(longest_s * NS_PER_S)
    waited_s = waited(measurements, start_ns, one.at_ns)
    shortest_s = min(seconds for each in timeouts for seconds in each if seconds)
    if waited_s >= shortest_s:
        return (
            f"the host gave the machines no processor for {waited_s:.3f} s of the "
            f"{longest_s:g} s before it, and a timeout is {shortest_s:g} s"
        )
    if steal := steal_against_failure(measurements, start_ns, one.at_ns):
        return (
            f"the host kept {steal:.0%} of the processor time that the machines wanted in the "
            f"{longest_s:g} s before it"
        )
    return ""


def _trouble(measurements: Measurements) -> Iterator[_Sign]:
    """What happened to planned paths while I/O ran and no fault hit them."""
    if not measurements.phases:
        return
    planned = {counters.path for counters in measurements.counters}
    told = [
        _Sign((event.path,), event.at_ns, f"{event.what}: {event.detail}", event.what)
        for event in measurements.timeline
        if event.what in _TROUBLE and event.path in planned
    ]
    told += [_Sign(one.paths, one.at_ns, one.text) for one in measurements.disk_errors]
    logs = [stream.completions for stream in measurements.streams if len(stream.completions)]
    submitted = [int((log.at_ns - log.latency_ns).min()) for log in logs]
    begun_ns = min(submitted, default=measurements.phases[0].start_ns)
    for one in told:
        if begun_ns <= one.at_ns <= measurements.phases[-1].end_ns and not any(
            _explains(measurements, fault, one) for fault in measurements.faults
        ):
            yield one


def _explains(measurements: Measurements, fault: FaultRecord, one: _Sign) -> bool:
    """Whether a fault hit the path then, or it was not back yet."""
    hit = [path for path in one.paths if path in fault.paths]
    from_ns = first_felt_ns(measurements, fault)
    return any(from_ns <= one.at_ns <= _over_ns(measurements, fault, path) for path in hit)


def _over_ns(measurements: Measurements, fault: FaultRecord, path: str) -> float:
    """The end of the time in which a fault explains what happens to a path."""
    until_ns = excused_until_ns(measurements, fault, path)
    if first_given_up_ns(measurements, fault, path) is None:
        # No line tells when it was back.
        until_ns = max(until_ns, too_late_ns(fault))
    return until_ns + LATE_NS
