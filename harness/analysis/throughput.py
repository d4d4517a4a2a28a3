"""Throughput of a stretch of time as samples, so that its spread is never lost in an average."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from harness.measurements import PROBE, Stream
from harness.timeline import Phase
from harness.units import MIB, NS_PER_S

BIN_NS = NS_PER_S // 2

Rates = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of samples, in MiB/s, and how many there are."""

    low: float
    median: float
    high: float
    samples: int

    @classmethod
    def of(cls, rates: Rates) -> Spread:
        """The spread of one or more rates in bytes a second."""
        low, median, high = np.percentile(rates, [25, 50, 75]) / MIB
        return cls(float(low), float(median), float(high), len(rates))

    def __str__(self) -> str:
        return f"{self.median:.2f} MiB/s ({self.low:.2f} to {self.high:.2f}, n={self.samples})"


def load(streams: Iterable[Stream]) -> tuple[Stream, ...]:
    """The streams that make up the load: all but the probe, or the probe if it is alone."""
    every = tuple(s for s in streams if len(s.completions))
    return tuple(s for s in every if s.name != PROBE) or every


def pace(streams: Iterable[Stream]) -> float:
    """Bytes a second that the streams were asked to carry; infinite if one was not paced."""
    return sum(inf if stream.pace is None else stream.pace for stream in streams)


def binned_rates(streams: Iterable[Stream], phase: Phase) -> Rates:
    """Bytes a second completed by all streams, one sample per whole bin inside the phase."""
    count = (phase.end_ns - phase.start_ns) // BIN_NS
    edges = phase.start_ns + BIN_NS * np.arange(count + 1)
    total = np.zeros(count)
    if count:
        for stream in streams:
            log = stream.completions
            total += np.histogram(log.at_ns, bins=edges, weights=log.size)[0]
    return total * (NS_PER_S / BIN_NS)


def credited(rates: Rates, pace: float) -> Rates:
    """The rates without what made up for the time before: no more is due than the pace.

    fio makes up for an outage, or a slow start, by going faster for a while. What it makes up for
    within these bins is credited, so a hiccup is no loss.
    """
    if not isfinite(pace):
        return rates
    credit = np.zeros(len(rates))
    done = 0.0
    for number, rate in enumerate(rates):
        now = min(done + float(rate), pace * (number + 1))
        credit[number], done = now - done, now
    return credit
