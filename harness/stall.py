"""The stall: the longest time without a completion while I/O was outstanding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.measurements import CompletionLog, Measurements


@dataclass(frozen=True)
class Stall:
    """A pause of one stream, from its last completion (or first submission) to the next one."""

    stream: str
    start_ns: int
    end_ns: int
    resolution_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


def longest_stall(log: CompletionLog, stream: str) -> Stall | None:
    """The longest pause of one stream, or None if it completed nothing.

    Between two completions the stream waits from the first of them, or from the moment when
    the earliest I/O still to complete was submitted if that was later: idle time is no stall.
    """
    if len(log) == 0:
        return None
    order = np.argsort(log.at_ns, kind="stable")
    at = log.at_ns[order]
    submitted = at - log.latency_ns[order]
    earliest_open = np.minimum.accumulate(submitted[::-1])[::-1]
    previous = np.concatenate(([earliest_open[0]], at[:-1]))
    since = np.maximum(previous, earliest_open)
    worst = int(np.argmax(at - since))
    return Stall(stream, int(since[worst]), int(at[worst]), log.resolution_ns)


def worst_stall(measurements: Measurements) -> Stall | None:
    """The longest stall of any stream."""
    stalls = [
        s
        for stream in measurements.streams
        if (s := longest_stall(stream.completions, stream.name))
    ]
    return max(stalls, key=lambda s: s.end_ns - s.start_ns, default=None)
