"""Whether each path is as good as it was, by its own figures and not by the map's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.analysis.confidence import Limits, ratio_of_means
from harness.analysis.fault_effect import in_reserve
from harness.analysis.path_latency import mean_latencies
from harness.checks.definition import check
from harness.checks.excuses import disturbed
from harness.checks.outcome import Outcome, failed, passed, unknown
from harness.measurements import Measurements
from harness.timeline import Phase

_FEWEST_BINS = 4
_FLOOR_MS = 2.0  # an I/O may take that much longer, whatever share it is


@dataclass(frozen=True)
class _Compared:
    """The mean time of a path's I/Os, in milliseconds, and the limits of the ratio."""

    was_ms: float
    became_ms: float
    limits: Limits

    @property
    def ratio(self) -> float:
        return self.became_ms / self.was_ms

    def is_slower(self, at_most: float) -> bool:
        """By the means; it may be chance."""
        most_ms = max(at_most * self.was_ms, self.was_ms + _FLOOR_MS)
        return self.became_ms > most_ms

    def __str__(self) -> str:
        return f"{self.was_ms:.1f} ms / {self.became_ms:.1f} ms ({self.limits})"


@check("each path as good as before", through_the_lab=True, by_samples=True)
def each_path_as_good_as_before(measurements: Measurements, at_most: float) -> Outcome:
    """After healing an I/O of each path takes at most so many times as long as before the fault.

    By the kernel's account of the path's disk. The load moves to the better paths, so that the map
    may be as fast as before with one path that is not. It fails on proof only: the path is slower
    by its confidence limits, and by more than any other path is.
    """
    before, after = measurements.before, measurements.phases[-1]
    if before is None or before is after:
        return unknown("there is no phase after a fault")
    compared = _compared(measurements, before, after)
    figures = {f"I/O of path {path}, before / after": str(one) for path, one in compared.items()}
    numbers = {f"latency_ratio_{path}": one.ratio for path, one in compared.items()}
    slower = {path: one for path, one in compared.items() if one.is_slower(at_most)}
    if slower:
        proven = {p: one for p, one in slower.items() if _is_proven(p, compared, at_most)}
        doubt = disturbed(measurements, before, after, figures)
        if not proven and not doubt:
            doubt = "but its I/Os vary too much to tell, or those of another path take longer, too"
        path, worst = max((proven or slower).items(), key=lambda each: each[1].ratio)
        text = (
            f"an I/O of path {path} takes {worst.ratio:.1f} times as long as before the fault, "
            f"at most {at_most:g} wanted: {worst}"
        )
        if doubt:
            return unknown(f"{text}; {doubt}", figures, numbers)
        return failed(text, figures, numbers)
    if unseen := _unseen(measurements, before, after, compared):
        text = f"too few I/Os of path {', '.join(unseen)} to compare before and after the fault"
        return unknown(text, figures, numbers)
    return passed("an I/O of each path takes as long as before the fault", figures, numbers)


def _compared(measurements: Measurements, before: Phase, after: Phase) -> dict[str, _Compared]:
    """Each path that had I/O in both phases."""
    found = {}
    for counters in measurements.counters:
        was, became = (mean_latencies(counters, phase) for phase in (before, after))
        if min(len(was), len(became)) >= _FEWEST_BINS and was.any():
            means = (float(np.mean(was)), float(np.mean(became)))
            found[counters.path] = _Compared(*means, ratio_of_means(was, became))
    return found


def _is_proven(path: str, compared: Mapping[str, _Compared], at_most: float) -> bool:
    """Whether a path is surely slower, and by more than any other became."""
    others = max((one.ratio for name, one in compared.items() if name != path), default=1.0)
    return compared[path].limits.low > at_most * max(others, 1.0)


def _unseen(
    measurements: Measurements, before: Phase, after: Phase, compared: Mapping[str, _Compared]
) -> list[str]:
    """The paths that cannot be compared, but for those in reserve before or afterwards."""
    spared = {
        path
        for phase in (before, after)
        for path in in_reserve(measurements, phase.start_ns, phase.end_ns)
    }
    every = (counters.path for counters in measurements.counters)
    return [path for path in every if path not in compared and path not in spared]
