"""Whether the evidence can be trusted. Of the storage it says nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.analysis.clocks import clock_moves
from harness.analysis.path_accounts import disagreements
from harness.analysis.sampling import LONGEST_GAP_NS, longest_gap_ns
from harness.analysis.stall import longest_idle
from harness.checks.definition import check
from harness.checks.kernel import unread_kernel_logs
from harness.checks.outcome import Outcome, passed, unknown
from harness.measurements import Measurements, Stream
from harness.topology import called
from harness.units import NS_PER_MS, NS_PER_S, format_seconds

# A wall clock is trimmed by 0.5 ms a second (adjtimex(2)); what moves it further has set it.
_FURTHEST_JUMP_NS = NS_PER_S
# A fifth of the time that checks leave aside round the moments of a fault.
_MOST_UNCERTAINTY_NS = 50 * NS_PER_MS
# Even the slowest job completes several I/Os in it.
_EARLIEST_END_NS = NS_PER_S
# A hundred times the interval of the slowest probe.
_LONGEST_IDLE_NS = NS_PER_S


@check("evidence sound")
def evidence_sound(measurements: Measurements) -> Outcome:
    """Logs and samples are complete, clocks steady; fio's two records agree, and the paths'.

    And the map had no disk but those of the planned paths: another one's I/O is in no figure.
    A machine that a fault stopped took no samples, and its clock stood still: that is no defect.
    Never fails: what is wrong here is wrong with the harness, its machines or their host.
    """
    figures = _figures(measurements)
    problems = [
        *unread_kernel_logs(measurements),
        *_watching_problems(measurements),
        *_clock_problems(measurements),
        *_stream_problems(measurements),
        *(each.text for each in disagreements(measurements)),
        *map(str, measurements.unplanned_disks),
    ]
    numbers = _numbers(measurements)
    if problems:
        return unknown("; ".join(problems), figures, numbers)
    said = "; ".join(f"{what} {value}" for what, value in figures.items())
    return passed(f"complete and steady: {said}", figures, numbers)


def _figures(measurements: Measurements) -> dict[str, str]:
    figures = {}
    for watching in measurements.watching:
        gap = format_seconds(longest_gap_ns(watching, measurements.processors) / NS_PER_S)
        figures[f"samples of {called(watching.machine)}"] = (
            f"{watching.samples_per_s:.1f} a second, longest gap {gap}, "
            f"taking {watching.cpu_share:.1%} of a processor"
        )
    if measurements.clocks:
        uncertainty_ns = float(np.median([c.uncertainty_ns for c in measurements.clocks]))
        figures["clock uncertainty"] = f"{uncertainty_ns / NS_PER_MS:.2f} ms at the median"
    return figures


def _numbers(measurements: Measurements) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for watching in measurements.watching:
        machine = watching.machine
        gap_s = longest_gap_ns(watching, measurements.processors) / NS_PER_S
        numbers[f"samples_per_s_{machine}"] = watching.samples_per_s
        numbers[f"longest_gap_{machine}_s"] = gap_s
        numbers[f"processor_share_{machine}"] = watching.cpu_share
    if measurements.clocks:
        uncertainty_ns = float(np.median([c.uncertainty_ns for c in measurements.clocks]))
        numbers["clock_uncertainty_s"] = uncertainty_ns / NS_PER_S
    return numbers


def _watching_problems(measurements: Measurements) -> Iterator[str]:
    if not measurements.watching:
        yield "no machine was watched"
    for watching in measurements.watching:
        machine = watching.machine
        if machine in _stopped(measurements):
            continue
        if watching.samples_per_s < watching.wanted_per_s:
            yield (
                f"only {watching.samples_per_s:.1f} samples a second of {called(machine)}, "
                f"{watching.wanted_per_s:.0f} wanted"
            )
        gap_ns = longest_gap_ns(watching, measurements.processors)
        if gap_ns > LONGEST_GAP_NS:
            yield f"no sample of {called(machine)} for {gap_ns / NS_PER_S:.1f} s"
        if watching.wall_jump_ns > _FURTHEST_JUMP_NS:
            jumped_s = watching.wall_jump_ns / NS_PER_S
            yield f"{called(machine)}'s wall clock jumped by {jumped_s:.1f} s"


def _stopped(measurements: Measurements) -> set[str]:
    """The machines that a fault stopped for a while."""
    return {machine for fault in measurements.faults for machine in fault.stopped}


def _clock_problems(measurements: Measurements) -> Iterator[str]:
    clocks = measurements.clocks
    for machine in dict.fromkeys(clock.machine for clock in clocks):
        readings = [clock for clock in clocks if clock.machine == machine]
        worst_ns = max(reading.uncertainty_ns for reading in readings)
        if worst_ns > _MOST_UNCERTAINTY_NS:
            yield f"{called(machine)}'s clock is known to {worst_ns / NS_PER_MS:.0f} ms only"
    for move in clock_moves(measurements):
        if move.machine in _stopped(measurements):
            continue
        yield (
            f"{called(move.machine)}'s monotonic clock moved by "
            f"{move.moved_ns / NS_PER_S:.3f} s in {move.within_ns / NS_PER_S:.1f} s "
            "against the host's"
        )


def _stream_problems(measurements: Measurements) -> Iterator[str]:
    if measurements.cut_short:
        yield f"the I/O was cut short: {measurements.cut_short}"
    for stream in measurements.streams:
        if not stream.whole:
            logged = len(stream.completions)
            reported = "none" if stream.reported is None else stream.reported
            yield f"job {stream.name!r}: {logged} I/Os in fio's log, {reported} in its report"
        if early_s := _ended_early_s(stream, measurements):
            yield f"job {stream.name!r} ended {early_s:.1f} s before the test"
    if (idle_s := _idle_s(measurements)) > _LONGEST_IDLE_NS / NS_PER_S:
        yield f"the probe sent nothing for {idle_s:.1f} s: a stall in that time would be unseen"


def _idle_s(measurements: Measurements) -> float:
    """The longest time in which the probe had nothing outstanding, though its machine ran."""
    probe, processors = measurements.probe, measurements.processors
    span_ns = longest_idle(probe.completions) if probe else None
    if span_ns is None:
        return 0.0
    waited_ns = processors.waited_between(*span_ns, measurements.initiator) if processors else 0
    return (span_ns[1] - span_ns[0] - waited_ns) / NS_PER_S


def _ended_early_s(stream: Stream, measurements: Measurements) -> float:
    """The seconds from the end of a job to the end of the last phase; 0 if it did not end early."""
    at_ns = stream.completions.at_ns
    phases = measurements.phases
    if not phases or not phases[-1].io_expected or len(at_ns) == 0:
        return 0.0
    early_ns = phases[-1].end_ns - int(at_ns.max())
    return early_ns / NS_PER_S if early_ns > _EARLIEST_END_NS else 0.0
