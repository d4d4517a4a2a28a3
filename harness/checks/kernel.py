"""The kernels themselves: no defect shown, and nothing of what they said was missed."""

from __future__ import annotations

from harness.analysis.kernel_trouble import (
    is_disk_error,
    is_distress,
    is_lockup,
    is_trouble,
)
from harness.analysis.wall_clock import wall_clock
from harness.checks.definition import check
from harness.checks.excuses import steal_against_failure
from harness.checks.outcome import Outcome, failed, passed, unknown
from harness.measurements import KernelLog, KernelMessage, Measurements
from harness.topology import Role, called
from harness.units import NS_PER_S

MAP_UNSEEN = "it is not known which map and which disks are the LUN's"
_SHOWN = 5
_LOCKUP_NS = 20 * NS_PER_S  # twice watchdog_thresh, after which a soft lockup is logged


@check("kernel sound")
def kernel_sound(measurements: Measurements) -> Outcome:
    """Neither kernel showed a defect during the test: BUG, WARNING, Oops, hung task, lockup.

    Lockdep's complaints and RCU stalls, too, and processes killed for want of memory; whatever the
    storage did, such a run is not good. Nor had the target an error of its own disks, or of the
    file system on them. On a machine that was there before the run, a hung task, want of memory or
    an error of a disk may be another program's; where the host held back the processors, a lockup
    or a stall of RCU may be its doing: unknown.
    """
    logs = measurements.kernel_logs
    figures = {f"records of {called(log.machine)}": str(len(log.messages)) for log in logs}
    numbers = {f"records_{log.machine}": len(log.messages) for log in logs}
    trouble: list[str] = []
    perhaps: list[str] = []
    for log in logs:
        for message in log.messages:
            if not (is_trouble(message) or _of_its_disk(log, message)):
                continue
            clock = wall_clock(measurements, message.at_ns, log.machine)
            text = f"{log.machine}: {message.text}" + (f" ({clock})" if clock else "")
            if doubt := _doubt(measurements, log, message):
                perhaps.append(f"{text}: {doubt}")
            else:
                trouble.append(text)
    if signs := len(trouble) + len(perhaps):
        figures["signs of trouble"] = str(signs)
        numbers["signs_of_trouble"] = signs
    if trouble:
        return failed("; ".join(trouble[:_SHOWN]), figures, numbers)
    if perhaps:
        return unknown("; ".join(perhaps[:_SHOWN]), figures, numbers)
    if unread := unread_kernel_logs(measurements):
        return unknown("; ".join(unread), figures, numbers)
    machines = " and ".join(log.machine for log in logs)
    text = f"no sign of trouble in the logs of {machines}"
    return passed(text, figures, numbers)


def _of_its_disk(log: KernelLog, message: KernelMessage) -> bool:
    return log.machine == Role.TARGET and is_disk_error(message)


def _doubt(measurements: Measurements, log: KernelLog, message: KernelMessage) -> str:
    """Why a sign of trouble may not be of the machine's own doing, or nothing."""
    others = _of_its_disk(log, message) or is_distress(message)
    if others and log.machine in measurements.existing:
        return "perhaps of other programs"
    if is_lockup(message):
        since_ns = message.at_ns - _LOCKUP_NS
        if steal := steal_against_failure(measurements, since_ns, message.at_ns):
            return f"but the host held back {steal:.0%} of the processor time before it"
    return ""


def unread_kernel_logs(measurements: Measurements) -> list[str]:
    """The parts of the kernel logs that were not read, in which anything may have been logged."""
    logs = measurements.kernel_logs
    if not logs:
        return ["no kernel log was followed"]
    followed = {log.machine for log in logs}
    unread = [
        f"{called(machine)}'s kernel log was not followed"
        for machine in measurements.machines
        if machine not in followed
    ]
    for watching in measurements.watching:
        machine = watching.machine
        if watching.died:
            unread.append(f"{called(machine)} was not watched to the end: {watching.died}")
        unread += [
            f"the mark {mark!r} is not in {called(machine)}'s kernel log"
            for mark in watching.missing_marks
        ]
    unread += [
        f"{log.lost} records of {called(log.machine)}'s kernel log were lost"
        for log in logs
        if log.lost
    ]
    return unread
