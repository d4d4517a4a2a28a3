"""Curves, spans and gaps that the picture and the tables draw from the same measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measurements import CompletionLog, Ints, Measurements, PathCounters
from harness.timeline import Happened
from harness.units import MIB, NS_PER_MS, NS_PER_S

Floats = NDArray[np.float64]

MAX_BINS = 1200  # more would be narrower than a pixel, and slow to open


@dataclass(frozen=True)
class Axis:
    """The common time axis: nanoseconds on the host's clock, shown as seconds since `origin_ns`.

    `origin` says in words what happened at zero.
    """

    origin_ns: int
    origin: str
    start_ns: int
    end_ns: int
    bin_ns: int

    @classmethod
    def of(cls, measurements: Measurements) -> Axis:
        """The axis from the first to the last event; bins of 100 ms, wider in long tests."""
        times = [e.at_ns for e in measurements.timeline]
        times += [t for p in measurements.phases for t in (p.start_ns, p.end_ns)]
        logs = [s.completions.at_ns for s in measurements.streams if len(s.completions)]
        times += [int(at_ns[i]) for at_ns in logs for i in (0, -1)]
        if not times:
            times = [int(t) for c in measurements.counters for t in c.at_ns] or [0]
        start_ns, end_ns = min(times), max(times)
        end_ns = max(end_ns, start_ns + NS_PER_S)
        injected = measurements.timeline.first(Happened.FAULT_INJECTED)
        started = measurements.timeline.first(Happened.IO_STARTED)
        if measurements.faults:
            origin_ns, origin = min(f.injected_ns for f in measurements.faults), "fault injection"
        elif injected:
            origin_ns, origin = injected.at_ns, "fault injection"
        else:
            origin_ns, origin = (started.at_ns if started else start_ns), "the start of I/O"
        steps = math.ceil((end_ns - start_ns) / (MAX_BINS * 100 * NS_PER_MS))
        return cls(origin_ns, origin, start_ns, end_ns, steps * 100 * NS_PER_MS)

    def seconds(self, at_ns: int) -> float:
        return (at_ns - self.origin_ns) / NS_PER_S

    @property
    def edges_ns(self) -> Ints:
        """Bin edges; a whole number of bins from the origin, so that zero is an edge."""
        first = math.floor((self.start_ns - self.origin_ns) / self.bin_ns)
        last = math.ceil((self.end_ns - self.origin_ns) / self.bin_ns)
        return np.arange(first, last + 1, dtype=np.int64) * self.bin_ns + self.origin_ns

    @property
    def edges_s(self) -> Floats:
        return np.asarray((self.edges_ns - self.origin_ns) / NS_PER_S, dtype=np.float64)


@dataclass(frozen=True)
class Span:
    """A stretch of time in which one path stayed in one state."""

    start_ns: int
    end_ns: int
    state: str


def throughput(log: CompletionLog, axis: Axis) -> Floats:
    """MiB/s completed in each bin of the axis."""
    done, _ = np.histogram(log.at_ns, bins=axis.edges_ns, weights=log.size)
    return np.asarray(done / MIB / (axis.bin_ns / NS_PER_S), dtype=np.float64)


def path_throughput(counters: PathCounters, axis: Axis) -> Floats:
    """MiB/s carried by one path in each bin; NaN where there was no sample on both sides."""
    edges = axis.edges_ns
    if len(counters.at_ns) < 2:
        return np.full(len(edges) - 1, np.nan)
    total = (counters.bytes_read + counters.bytes_written).astype(np.float64)
    origin = counters.at_ns[0]
    at_edges = np.interp(edges - origin, counters.at_ns - origin, total, left=np.nan, right=np.nan)
    rate = np.diff(at_edges) / MIB / (axis.bin_ns / NS_PER_S)
    return np.asarray(np.maximum(rate, 0.0), dtype=np.float64)


def path_spans(measurements: Measurements, path: str, axis: Axis) -> tuple[Span, ...]:
    """How long the path was in which state, from the samples of the map, cut to the axis."""
    seen = [(s.at_ns, s.states[path]) for s in measurements.path_states if path in s.states]
    spans: list[Span] = []
    for at_ns, state in seen:
        if spans and spans[-1].state == state:
            continue
        if spans:
            spans[-1] = Span(spans[-1].start_ns, at_ns, spans[-1].state)
        spans.append(Span(at_ns, axis.end_ns, state))
    cut = (Span(max(s.start_ns, axis.start_ns), min(s.end_ns, axis.end_ns), s.state) for s in spans)
    return tuple(s for s in cut if s.end_ns > s.start_ns)


def thin_out(at_ns: Ints, values: Ints, axis: Axis, columns: int) -> tuple[Ints, Ints]:
    """Keep three points a column of the picture at most: smallest value, median, largest."""
    if len(at_ns) == 0:
        return at_ns, values
    width = max(1, -(-(axis.end_ns - axis.start_ns) // columns))
    column = (at_ns - axis.start_ns) // width
    order = np.lexsort((values, column))
    edges = np.flatnonzero(np.diff(column[order])) + 1
    first = np.concatenate(([0], edges))
    last = np.concatenate((edges - 1, [len(order) - 1]))
    keep = np.unique(order[np.concatenate((first, (first + last) // 2, last))])
    return at_ns[keep], values[keep]
