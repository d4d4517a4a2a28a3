"""When something happened by the clock that a machine shows its users, as its own logs have it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from harness.measurements import Measurements
from harness.timeline import Event
from harness.units import NS_PER_S


def wall_clock(measurements: Measurements, at_ns: int, machine: str = "") -> str:
    """`2026-03-14T02:00:13.120Z`: UTC, by that machine's own clock, or by the initiator's.

    Empty if nothing tells how far that clock was ahead of the host's.
    """
    machine = machine or measurements.initiator
    readings = [clock for clock in measurements.clocks if clock.machine == machine]
    watching = next((one for one in measurements.watching if one.machine == machine), None)
    if not readings or watching is None or not len(watching.at_ns):
        return ""
    # Small numbers, of which a float keeps every nanosecond.
    moved = [clock.offset_ns - readings[0].offset_ns for clock in readings]
    drifted_ns = round(float(np.interp(at_ns, [clock.at_ns for clock in readings], moved)))
    sample = max(0, int(np.searchsorted(watching.at_ns, at_ns, side="right")) - 1)
    ahead_ns = int(watching.wall_ahead_ns[sample]) + readings[0].offset_ns + drifted_ns
    at_s, rest_ns = divmod(at_ns + ahead_ns, NS_PER_S)
    told = datetime.fromtimestamp(at_s, UTC).replace(microsecond=rest_ns // 1000, tzinfo=None)
    return f"{told.isoformat(timespec='milliseconds')}Z"


def seen_by(measurements: Measurements, event: Event) -> str:
    """The machine whose kernel told of an event; the initiator where no machine did."""
    machine = event.source.removesuffix(" kernel")
    known = {log.machine for log in measurements.kernel_logs}
    return machine if machine in known else measurements.initiator


def at_clock(measurements: Measurements, event: Event) -> str:
    """The wall clock of an event in brackets, to follow its name; empty if it is not known."""
    told = wall_clock(measurements, event.at_ns, seen_by(measurements, event))
    return f" ({told})" if told else ""
