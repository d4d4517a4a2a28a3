"""A machine's kernel log as text, each record with its times and the path that it is about."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.analysis.wall_clock import wall_clock
from harness.measurements import KernelLog, KernelMessage, Measurements
from harness.reporting.series import Axis
from harness.timeline import Happened

MOST_LOG_BYTES = 1_000_000  # a browser opens that in one second; 20 MB take twelve
_WORD = re.compile(r"\w+")
_STATES = {Happened.PATH_FAILED, Happened.PATH_REINSTATED}


def kernel_log_text(log: KernelLog, measurements: Measurements) -> str:
    """The kernel log on the picture's axis; of a log that is too long, the beginning is dropped."""
    axis = Axis.of(measurements)
    path_of = _paths(log, measurements)
    kept: list[str] = []
    room = MOST_LOG_BYTES - 400
    for message in reversed(log.messages):
        clock = wall_clock(measurements, message.at_ns, log.machine)
        path = path_of(message)
        about = f"[path {path}] " if path else ""
        seconds = f"{axis.seconds(message.at_ns):12.3f} s"
        line = f"{seconds}  {clock}  <{message.level}> {about}{message.text}\n"
        room -= len(line.encode())
        if room < 0:
            break
        kept.append(line)
    head = (
        f"kernel log of {log.machine}; seconds since {axis.origin}; the machine's wall clock, in "
        "UTC; <level> as in syslog(3); [path NAME] where it is known which path a record is about\n"
    )
    if log.lost:
        head += f"{log.lost} records are known to be missing\n"
    if left_out := len(log.messages) - len(kept):
        head += f"the first {left_out} of {len(log.messages)} records are left out\n"
    return head + "".join(reversed(kept))


def _paths(log: KernelLog, measurements: Measurements) -> Callable[[KernelMessage], str]:
    """What tells the path that a record of a log is about: `a`, `a or b`, or "" if that is unknown.

    By the event that was made of the record, else by the one disk of a path that it names.
    """
    told = {
        (error.at_ns, error.text): " or ".join(error.paths) for error in measurements.disk_errors
    }
    states: dict[int, list[str]] = {}
    for event in measurements.timeline:
        if event.source == f"{log.machine} kernel" and event.path:
            told[event.at_ns, event.detail] = event.path
            if event.what in _STATES:  # the detail of these is the path alone
                states.setdefault(event.at_ns, []).append(event.path)
    owners: dict[str, set[str]] = {}
    for counters in measurements.counters if log.machine == measurements.initiator else ():
        for disk in counters.disks:
            owners.setdefault(disk, set()).add(counters.path)

    def path_of(message: KernelMessage) -> str:
        if found := told.get((message.at_ns, message.text)):
            return found
        words = set(_WORD.findall(message.text))
        if "path" in words and message.at_ns in states:
            return " or ".join(states[message.at_ns])
        named = [paths for disk, paths in owners.items() if disk in words]
        return next(iter(named[0])) if len(named) == 1 and len(named[0]) == 1 else ""

    return path_of
