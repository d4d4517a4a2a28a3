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

_FEWEST_IOS = 5  # in a stretch, for its mean to say anything
_FEWEST_STRETCHES = 4

Milliseconds = NDArray[np.float64]


def mean_latencies(counters: PathCounters, phase: Phase) -> Milliseconds:
    """The mean time of an I/O in each of some stretches of a phase, from half a second on.

    So long that there are I/Os enough in most of them, if the phase has at least four; those with
    too few are left out.
    """
    inside = (counters.at_ns >= phase.start_ns) & (counters.at_ns <= phase.end_ns)
    if np.count_nonzero(inside) < 2 or not len(counters.completed):
        return np.empty(0)
    at_ns, done = counters.at_ns[inside], counters.completed[inside]
    lasted_ns, total = int(at_ns[-1] - at_ns[0]), int(done[-1] - done[0])
    wanted_ns = 2 * _FEWEST_IOS * lasted_ns // max(total, 1)
    step_ns = max(BIN_NS, min(wanted_ns, lasted_ns // _FEWEST_STRETCHES))
    edges = np.arange(at_ns[0], at_ns[-1] + 1, step_ns)
    ios, took_ms = (
        np.diff(np.interp(edges, at_ns, total_of[inside]))
        for total_of in (counters.completed, counters.took_ms)
    )
    enough = ios >= _FEWEST_IOS
    return np.asarray(took_ms[enough] / ios[enough])
