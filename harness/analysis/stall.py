"""The stall: the longest time without a completion while I/O was outstanding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.measurements import CompletionLog, Measurements

_MIN_PROBES = 20


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


def longest_stall(
    log: CompletionLog,
    stream: str,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    begun_before_ns: int | None = None,
    begun_from_ns: int | None = None,
) -> Stall | None:
    """The longest pause of one stream that ended, and began, within stretches of time, or None.

    Between two completions the stream waits from the first of them, or from the moment when
    the earliest I/O still to complete was submitted if that was later: idle time is no stall.
    """
    order = np.argsort(log.at_ns, kind="stable")
    at = log.at_ns[order]
    if not len(at):
        return None
    submitted = at - log.latency_ns[order]
    earliest_open = np.minimum.accumulate(submitted[::-1])[::-1]
    previous = np.concatenate(([earliest_open[0]], at[:-1]))
    since = np.maximum(previous, earliest_open)
    within = np.full(len(at), fill_value=True)
    if start_ns is not None:
        within &= at > start_ns
    if end_ns is not None:
        within &= at <= end_ns
    if begun_before_ns is not None:
        within &= since < begun_before_ns
    if begun_from_ns is not None:
        within &= since >= begun_from_ns
    if not within.any():
        return None
    worst = int(np.argmax(np.where(within, at - since, -1)))
    return Stall(stream, int(since[worst]), int(at[worst]), log.resolution_ns)


def worst_stall(
    measurements: Measurements,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    begun_before_ns: int | None = None,
    begun_from_ns: int | None = None,
) -> Stall | None:
    """The longest stall of any stream that ended, and began, within stretches of time."""
    stalls = [
        s
        for stream in measurements.streams
        if (
            s := longest_stall(
                stream.completions,
                stream.name,
                start_ns=start_ns,
                end_ns=end_ns,
                begun_before_ns=begun_before_ns,
                begun_from_ns=begun_from_ns,
            )
        )
    ]
    return max(stalls, key=lambda s: s.end_ns - s.start_ns, default=None)


def stall_resolution_ns(measurements: Measurements) -> int | None:
    """How finely a stall is seen: the probe's median interval before any fault.

    A stall between two probes of that distance could begin unseen; fio's log has a grain, too.
    None if the probe measured too little to tell.
    """
    probe = measurements.probe
    if probe is None or not measurements.phases:
        return None
    log, before = probe.completions, measurements.phases[0]
    inside = (log.at_ns >= before.start_ns) & (log.at_ns <= before.end_ns)
    submitted = np.sort((log.at_ns - log.latency_ns)[inside])
    if len(submitted) < _MIN_PROBES:
        return None
    return max(int(np.median(np.diff(submitted))), log.resolution_ns)
