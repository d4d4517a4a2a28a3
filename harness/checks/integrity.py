"""Zero I/O errors, and every acknowledged byte still there."""

from __future__ import annotations

import numpy as np

from harness.checks.judgement import Check, Finding, Verdict
from harness.checks.kernel import unread_kernel_logs
from harness.kernel_events import is_map_error
from harness.measurements import KernelLog, Measurements, Stream
from harness.timeline import Phase

_SHOWN = 5


def no_io_errors() -> Check:
    """fio saw no error, the map had none, and I/O ran in every phase."""
    name = "no I/O errors"

    def run(measurements: Measurements) -> Finding:
        failures = [*_fio_errors(measurements.streams), *_map_errors(measurements.kernel_logs)]
        if failures:
            return Finding(name, Verdict.FAIL, "; ".join(failures[:_SHOWN]))
        if blind := _blind_spots(measurements):
            return Finding(name, Verdict.UNKNOWN, "; ".join(blind[:_SHOWN]))
        done = sum(len(s.completions) for s in measurements.streams)
        figures = {"I/Os": f"{done}", "errors": "0"}
        return Finding(name, Verdict.PASS, f"{done} I/Os completed, none with an error", figures)

    return Check(name, run)


def _fio_errors(streams: tuple[Stream, ...]) -> list[str]:
    failures = []
    for stream in streams:
        errors = stream.errors
        if errors.verify_errors:
            failures.append(
                f"fio's verification failed {errors.verify_errors} times in job {stream.name!r}"
            )
        elif errors.error or errors.total_errors:
            count = max(errors.total_errors, 1)
            failures.append(
                f"fio job {stream.name!r} had {count} I/O errors (errno {errors.error})"
            )
    return failures


def _map_errors(logs: tuple[KernelLog, ...]) -> list[str]:
    return [
        f"{log.machine} kernel: {message.text}"
        for log in logs
        for message in log.messages
        if is_map_error(message)
    ]


def _blind_spots(measurements: Measurements) -> list[str]:
    blind = []
    if not measurements.streams or not measurements.phases:
        blind.append("no I/O was measured")
    if measurements.cut_short:
        blind.append(f"the I/O was cut short: {measurements.cut_short}")
    blind += unread_kernel_logs(measurements)
    blind += [
        f"job {stream.name!r} did no I/O in phase {phase.name!r}"
        for stream in measurements.streams
        for phase in measurements.phases
        if phase.io_expected and not _did_io(stream, phase)
    ]
    return blind


def _did_io(stream: Stream, phase: Phase) -> bool:
    at = stream.completions.at_ns
    return bool(np.any((at >= phase.start_ns) & (at <= phase.end_ns)))


def data_intact() -> Check:
    """Everything acknowledged was read back after the fault: whole, in place, and the newest."""
    name = "data intact"

    def run(measurements: Measurements) -> Finding:
        back = measurements.read_back
        if back is None:
            return Finding(name, Verdict.UNKNOWN, "nothing was read back")
        figures = {"acknowledged blocks": str(back.acknowledged), "read back": str(back.checked)}
        if back.findings:
            shown = ", ".join(f"{f.problem} at offset {f.offset}" for f in back.findings[:_SHOWN])
            return Finding(
                name,
                Verdict.FAIL,
                f"{len(back.findings)} of {back.checked} acknowledged blocks are wrong: {shown}",
                figures | {"wrong": str(len(back.findings))},
            )
        if back.acknowledged == 0:
            return Finding(name, Verdict.UNKNOWN, "no write was acknowledged", figures)
        if back.checked != back.acknowledged:
            return Finding(
                name,
                Verdict.UNKNOWN,
                f"only {back.checked} of {back.acknowledged} blocks were read back",
                figures,
            )
        return Finding(
            name,
            Verdict.PASS,
            f"all {back.checked} acknowledged blocks are whole, in place and current",
            figures,
        )

    return Check(name, run)
