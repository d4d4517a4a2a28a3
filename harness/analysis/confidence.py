"""How sure a comparison of two stretches of time is, by the spread within each of them; pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.99  # each limit by itself is wrong in one of a hundred comparisons
_LEAST_SHARE_IN_USE = 0.25  # of the samples, however alike neighbours are

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """The confidence limits of a value: by the samples it is not below `low`, not above `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.1%} to {self.high:.1%}"


def ratio_of_means(before: Samples, after: Samples) -> Limits:
    """Limits of mean(after) / mean(before), each of two samples or more, and the latter above 0.

    Fieller's theorem (E. C. Fieller, JRSS B 16, 1954), with Welch's degrees of freedom (B. L.
    Welch, Biometrika 34, 1947). Neighbours that are alike say less than their number: the variance
    of each mean is that of fewer samples, by their correlation.
    """
    from scipy.special import stdtrit

    was, became = float(np.mean(before)), float(np.mean(after))
    middle = became / was
    (var_before, count_before), (var_after, count_after) = map(_of_mean, (before, after))
    parts = ((var_after, count_after), (middle**2 * var_before, count_before))
    total = sum(part for part, _ in parts)
    if total == 0:
        return Limits(middle, middle)
    freedom = total**2 / sum(part**2 / max(count - 1, 1) for part, count in parts)
    squared = float(stdtrit(freedom, CONFIDENCE)) ** 2
    divisor = was**2 - squared * var_before
    if divisor <= 0:  # it may have been nothing before
        return Limits(0, inf)
    inner = (was * became) ** 2 - divisor * (became**2 - squared * var_after)
    low, high = ((was * became + sign * sqrt(inner)) / divisor for sign in (-1, 1))
    return Limits(max(low, 0.0), high)


def _of_mean(samples: Samples) -> tuple[float, float]:
    """The variance of the mean, and how many samples it is worth."""
    count = len(samples) * _share_in_use(samples)
    return float(np.var(samples, ddof=1)) / count, count


def _share_in_use(samples: Samples) -> float:
    """The share of samples that counts, if neighbours are alike: (1 - r) / (1 + r), r at lag 1."""
    centred = samples - np.mean(samples)
    power = float(np.dot(centred, centred))
    if power == 0:
        return 1.0
    alike = max(float(np.dot(centred[:-1], centred[1:])) / power, 0.0)
    return max((1 - alike) / (1 + alike), _LEAST_SHARE_IN_USE)


def percentile_limits(samples: Samples, percent: float) -> Limits:
    """Limits of a percentile: those order statistics between which it lies.

    Source: H. A. David and H. N. Nagaraja, Order Statistics, section 7.1. The number of samples
    below the percentile is binomial; a limit that there is no sample for is infinite, or 0. Of the
    99th percentile there is an upper limit from 459 samples on.
    """
    from scipy.special import bdtr

    ordered, count = np.sort(samples), len(samples)
    at_most = bdtr(np.arange(count), count, percent / 100)  # [k]: no more than k samples below it
    above = np.flatnonzero(at_most >= CONFIDENCE)
    below = np.flatnonzero(1 - at_most >= CONFIDENCE)
    return Limits(
        low=float(ordered[below[-1]]) if len(below) else 0.0,
        high=float(ordered[above[0]]) if len(above) else inf,
    )


def share_limits(found: int, tried: int) -> Limits:
    """Limits of a share by a count: those of Clopper and Pearson (Biometrika 26, 1934)."""
    from scipy.special import betaincinv

    if tried == 0:
        return Limits(0.0, 1.0)
    missed = tried - found
    low = betaincinv(found, missed + 1, 1 - CONFIDENCE) if found else 0.0
    high = betaincinv(found + 1, missed, CONFIDENCE) if missed else 1.0
    return Limits(float(low), float(high))
