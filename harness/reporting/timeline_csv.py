"""The timeline as data: every event, and throughput over time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from harness.analysis.wall_clock import seen_by, wall_clock
from harness.measurements import Measurements
from harness.reporting.series import Axis, path_throughput, throughput
from harness.units import NS_PER_MS

MOST_ROWS = 600  # the report draws a table of it


def timeline_csv(measurements: Measurements) -> str:
    """One row per event: seconds on the picture's axis, wall clock, what, paths, where, detail.

    The wall clock is that of the machine whose kernel told of it, else the initiator's; the
    uncertainty of both times is in ms.
    """
    axis = Axis.of(measurements)
    hit = {fault.name: ", ".join(fault.paths) for fault in measurements.faults}
    return table(
        ("seconds", "wall_clock", "event", "path", "source", "detail", "uncertainty_ms"),
        (
            (
                f"{axis.seconds(event.at_ns):.6f}",
                wall_clock(measurements, event.at_ns, seen_by(measurements, event)),
                event.what.value,
                event.path or hit.get(event.detail, ""),
                event.source,
                event.detail,
                f"{event.uncertainty_ns / NS_PER_MS:.3f}",
            )
            for event in measurements.timeline
        ),
    )


def throughput_csv(measurements: Measurements) -> str:
    """MiB/s of every stream and every path per bin; neighbouring bins are averaged if too many."""
    axis = Axis.of(measurements)
    columns = {f"{s.name} MiB/s": throughput(s.completions, axis) for s in measurements.streams}
    for counters in measurements.counters:
        columns[f"path {counters.path} MiB/s"] = path_throughput(counters, axis)
    starts = axis.edges_s[:-1]
    merge = -(-len(starts) // MOST_ROWS)
    whole = np.arange(0, len(starts), merge)
    counts = np.diff(np.append(whole, len(starts)))
    means = {name: np.add.reduceat(values, whole) / counts for name, values in columns.items()}
    rows = (
        (f"{starts[first]:.1f}", *(_number(mean[row]) for mean in means.values()))
        for row, first in enumerate(whole)
    )
    return table(("seconds", *columns), rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """CSV as the report's table viewer and spreadsheets read it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"
