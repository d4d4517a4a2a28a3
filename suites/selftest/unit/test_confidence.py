"""How sure a comparison is, against samples whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.confidence import percentile_limits, ratio_of_means

RUNS = 2000


def alike(rng: np.random.Generator, count: int, correlation: float) -> np.ndarray:
    """Samples of mean 1 and spread 0.1, each like its neighbour by that correlation."""
    noise = rng.normal(0, 1, count)
    for number in range(1, count):
        noise[number] = (
            correlation * noise[number - 1] + (1 - correlation**2) ** 0.5 * noise[number]
        )
    return 1 + 0.1 * noise


@pytest.mark.parametrize(("count", "correlation"), [(8, 0.0), (20, 0.0), (60, 0.5)])
def test_the_true_ratio_is_rarely_beyond_a_limit(count: int, correlation: float) -> None:
    """One of a hundred is what a limit may miss; three, where neighbours are alike."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(RUNS):
        limits = ratio_of_means(alike(rng, count, correlation), alike(rng, count, correlation))
        missed += limits.high < 1
    assert missed / RUNS <= (0.03 if correlation else 0.015)


def test_limits_without_the_correlation_would_miss_more() -> None:
    """So it counts: the same samples in another order have limits that are nearer."""
    rng = np.random.default_rng(2)
    before, after = alike(rng, 60, 0.8), alike(rng, 60, 0.8)
    mixed = ratio_of_means(rng.permutation(before), rng.permutation(after))
    limits = ratio_of_means(before, after)
    assert limits.high - limits.low > 1.5 * (mixed.high - mixed.low)


def test_samples_that_never_differ_have_one_ratio() -> None:
    """Half the rate is a ratio of 50 %, and no throughput is a ratio of 0."""
    assert ratio_of_means(np.full(4, 2.0), np.full(4, 1.0)).high == 0.5
    assert ratio_of_means(np.full(4, 2.0), np.zeros(4)).high == 0
    assert str(ratio_of_means(np.full(4, 2.0), np.full(4, 1.0))) == "50.0% to 50.0%"


def test_a_percentile_is_rarely_beyond_a_limit() -> None:
    """By the exponential distribution, whose percentiles are known."""
    rng = np.random.default_rng(3)
    true = -np.log(0.1)
    found = [percentile_limits(rng.exponential(size=200), 90) for _ in range(RUNS)]
    assert sum(limits.low > true for limits in found) / RUNS <= 0.015
    assert sum(limits.high < true for limits in found) / RUNS <= 0.015


def test_a_percentile_of_few_samples_has_no_upper_limit() -> None:
    """Of 20, none need be beyond the 90th percentile."""
    limits = percentile_limits(np.arange(20.0), 90)
    assert limits.low < 17
    assert limits.high == float("inf")
