"""How long the I/Os of one path take, by the kernel's own account of its disk; pure.

Source: Documentation/block/stat.rst in the kernel (read ticks, write ticks). An I/O counts when it
completes, with all of its time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.analysis.throughput import BIN_NS
from harness.measurements import PathCounters
from harness.timeline import Phase

_FEWEST_IOS = 5  # in a bin, for its mean to say anything

Milliseconds = NDArray[np.float64]


def mean_latencies(counters: PathCounters, phase: Phase) -> Milliseconds:
    """The mean time of an I/O in each half second of a phase in which the path had some."""
    inside = (counters.at_ns >= phase.start_ns) & (counters.at_ns <= phase.end_ns)
    if np.count_nonzero(inside) < 2 or not len(counters.completed):
        return np.empty(0)
    at_ns = counters.at_ns[inside]
    edges = np.arange(at_ns[0], at_ns[-1] + 1, BIN_NS)
    ios, took_ms = (
        np.diff(np.interp(edges, at_ns, total[inside]))
        for total in (counters.completed, counters.took_ms)
    )
    enough = ios >= _FEWEST_IOS
    return np.asarray(took_ms[enough] / ios[enough])
