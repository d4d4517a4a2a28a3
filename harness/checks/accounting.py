"""Whether two independent counts of the bytes agree."""

from __future__ import annotations

from harness.checks.definition import check
from harness.checks.outcome import Outcome, passed, unknown
from harness.measurements import Measurements
from harness.units import format_size


@check("accounting agrees")
def accounting_agrees(measurements: Measurements, within: float) -> Outcome:
    """The bytes that fio completed are those that the paths carried, within that share.

    Two independent counts of one thing: if they disagree, one of them measures wrongly and
    no figure can be trusted. For phases without a fault and without verification.
    """
    phase = measurements.phases[-1]
    carried = [c.between(phase.start_ns, phase.end_ns) for c in measurements.counters]
    seen = [c for c in carried if c is not None]
    if not seen or sum(seen) == 0:
        return unknown("no byte counters of any path")
    completed = 0
    for stream in measurements.streams:
        log = stream.completions
        inside = (log.at_ns >= phase.start_ns) & (log.at_ns <= phase.end_ns)
        completed += int(log.size[inside].sum())
    figures = {"fio": format_size(completed), "paths": format_size(sum(seen))}
    numbers = {"fio_bytes": completed, "paths_bytes": sum(seen)}
    difference = abs(completed - sum(seen)) / sum(seen)
    if difference > within:
        text = f"fio and the paths differ by {difference:.1%}"
        return unknown(text, figures, numbers)
    text = f"fio and the paths agree to {difference:.1%}"
    return passed(text, figures, numbers)
