"""How slow is too slow: rates and reads at the very limits, and what is told of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.confidence import Limits
from harness.checks import (
    Outcome,
    Verdict,
    latency_recovered,
    speed,
    throughput_recovered,
)
from harness.checks.speed import Compared, compare_latency, compare_rates
from harness.measurements import CompletionLog, Measurements, Stream
from harness.units import KIB, MIB, NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import busy_host, found, good
from suites.selftest.unit.synthetic_failover import HEALED

BEFORE, DURING, AFTER = good().phases
ENOUGH = 500  # reads, of which the 99th percentile has both limits


def rates(
    was: list[float],
    became: list[float],
    at_least: float = 0.9,
    measured: Measurements | None = None,
) -> Outcome:
    """What is said of rates before and after, in bytes a second."""
    arrays = np.array(was, dtype=float), np.array(became, dtype=float)
    return compare_rates(measured or good(), BEFORE, AFTER, *arrays, at_least)


def test_rates_are_told_with_their_spread_and_share() -> None:
    outcome = rates([10 * MIB] * 3, [9 * MIB] * 3)
    assert outcome.verdict is Verdict.PASS
    assert outcome.message == "90.0% of the throughput before the fault, at least 90% wanted"
    assert outcome.figures == {
        "before": "10.00 MiB/s (10.00 to 10.00, n=3)",
        "after": "9.00 MiB/s (9.00 to 9.00, n=3)",
        "share, with 99 % confidence": "90.0% to 90.0%",
    }
    assert outcome.numbers == {"before_mib_s": 10, "after_mib_s": 9, "least_share": 0.9}


def test_what_rates_are_compared_with_is_told() -> None:
    ten = np.full(3, 10.0 * MIB)
    compared = Compared("what others carried", ", over others")
    outcome = compare_rates(good(), BEFORE, AFTER, ten, ten, 0.9, compared=compared)
    assert outcome.message.startswith("100.0% of what others carried, ")
    assert "before, over others" in outcome.figures


@pytest.mark.parametrize(
    ("became", "verdict"),
    [
        (MIB - 64 * KIB + 1, Verdict.PASS),
        (MIB - 64 * KIB, Verdict.FAIL),
    ],
)
def test_less_than_64_kib_a_second_is_no_loss(became: int, verdict: Verdict) -> None:
    assert rates([MIB] * 3, [became] * 3, 1.0).verdict is verdict


@pytest.mark.parametrize(("was", "became"), [(2, 3), (3, 2), (2, 2)])
def test_two_half_seconds_are_too_few_to_compare_rates(was: int, became: int) -> None:
    outcome = rates([MIB] * was, [MIB] * became)
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.message == "phases of 6.0 s and 9.0 s are too short"


def test_nothing_is_no_measure() -> None:
    outcome = rates([0] * 3, [MIB] * 3)
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.message == "nothing was carried before the fault"
    assert rates([0, 0, 30 * MIB], [9 * MIB] * 3).verdict is Verdict.PASS


def test_a_loss_is_proven_below_the_limit_and_not_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for high, verdict in ((0.9, Verdict.UNKNOWN), (0.899, Verdict.FAIL)):
        limits = Limits(0.5, high)
        monkeypatch.setattr(speed, "ratio_of_means", lambda *_, limits=limits: limits)
        outcome = rates([10 * MIB] * 3, [8 * MIB] * 3)
        assert outcome.verdict is verdict
        told = f"; the rates vary too much to tell: it may be 50.0% to {high:.1%}"
        assert outcome.message.endswith(told) is (verdict is Verdict.UNKNOWN)


def test_on_a_busy_host_neither_a_loss_nor_its_absence_is_proven() -> None:
    late = replace(good(), processors=busy_host(0.5, start_ns=HEALED))
    told = "; but after the fault the host held back 50% of the processor time that the machines "
    outcome = rates([10 * MIB] * 3, [5 * MIB] * 3, measured=late)
    assert outcome.verdict is Verdict.UNKNOWN
    assert told in outcome.message
    assert "vary too much" not in outcome.message
    assert rates([10 * MIB] * 3, [10 * MIB] * 3, measured=late).verdict is Verdict.PASS
    early = replace(good(), processors=busy_host(0.7, end_ns=HEALED))
    outcome = rates([10 * MIB] * 3, [10 * MIB] * 3, measured=early)
    assert outcome.verdict is Verdict.UNKNOWN
    assert "but before the fault the host held back 70%" in outcome.message


def probe_of(was_ms: list[float], became_ms: list[float]) -> Stream:
    """Reads that take so long, evenly from one end to the other of the phases before and after."""
    ends = ((BEFORE, was_ms), (AFTER, became_ms))
    at_ns = [np.linspace(phase.start_ns, phase.end_ns, len(some)) for phase, some in ends]
    taken = np.array([*was_ms, *became_ms]) * NS_PER_MS
    at = np.concatenate(at_ns).astype(np.int64)
    size = np.full_like(at, 4096)
    log = CompletionLog(at, taken.astype(np.int64), size * 0, size, at < 0, NS_PER_MS)
    probe = next(one for one in good().streams if one.name == "probe")
    return replace(probe, completions=log, reported=len(at))


def reads(
    was_ms: list[float],
    became_ms: list[float],
    at_most: float = 2,
    measured: Measurements | None = None,
) -> Outcome:
    """What is said of reads that take so long before and after."""
    probe = probe_of(was_ms, became_ms)
    return compare_latency(measured or good(), probe, BEFORE, AFTER, at_most)


def test_reads_are_told_with_their_percentiles() -> None:
    was, became = list(range(1, 102)), list(range(2, 203, 2))
    outcome = reads([*map(float, was)], [*map(float, became)], 3)
    assert outcome.verdict is Verdict.PASS
    assert outcome.message == (
        "2.0 times the latency before the fault (p90 of the probe), at most 3 wanted"
    )
    assert outcome.figures == {
        "p90 before": "91 ms",
        "p99 before": "100 ms",
        "longest before": "101 ms",
        "p90 after": "182 ms",
        "p99 after": "200 ms",
        "longest after": "202 ms",
    }
    assert outcome.numbers == {
        "most_times": 3,
        "before_p90_s": pytest.approx(0.091),
        "before_p99_s": pytest.approx(0.1),
        "before_longest_s": pytest.approx(0.101),
        "after_p90_s": pytest.approx(0.182),
        "after_p99_s": pytest.approx(0.2),
        "after_longest_s": pytest.approx(0.202),
        "before_s": pytest.approx(0.091),
        "after_s": pytest.approx(0.182),
    }


@pytest.mark.parametrize(
    ("was", "became", "enough"), [(20, 20, True), (19, 20, False), (20, 19, False)]
)
def test_twenty_reads_are_enough(was: int, became: int, enough: bool) -> None:
    """Those at either end of a phase are among them."""
    outcome = reads([1.0] * was, [1.0] * became)
    assert (outcome.verdict is Verdict.PASS) is enough
    assert (outcome.message == "the probe read too little to tell") is not enough


@pytest.mark.parametrize(
    ("was_ms", "became_ms", "verdict"),
    [
        (1.0, 3.0, Verdict.PASS),  # 2 ms longer
        (1.0, 3.001, Verdict.FAIL),
        (10.0, 20.0, Verdict.PASS),  # twice as long
        (10.0, 20.001, Verdict.FAIL),
    ],
)
def test_most_reads_may_take_twice_as_long_or_two_milliseconds_longer(
    was_ms: float, became_ms: float, verdict: Verdict
) -> None:
    outcome = reads([was_ms] * ENOUGH, [became_ms] * ENOUGH)
    assert outcome.verdict is verdict
    assert "(p90 of the probe)" in outcome.message


@pytest.mark.parametrize(
    ("slowest_ms", "verdict"), [(101.0, Verdict.PASS), (101.001, Verdict.FAIL)]
)
def test_the_slowest_reads_may_take_a_tenth_of_a_second_longer(
    slowest_ms: float, verdict: Verdict
) -> None:
    slow = ENOUGH // 25
    outcome = reads([1.0] * ENOUGH, [1.0] * (ENOUGH - slow) + [slowest_ms] * slow)
    assert outcome.verdict is verdict
    if verdict is Verdict.FAIL:
        assert outcome.message == (
            "101.0 times the latency before the fault (p99 of the probe), at most 2 wanted"
        )


@pytest.mark.parametrize(
    ("reads_each", "told"),
    [
        (43, "it may be 4 ms after any time"),
        (44, ""),
    ],
)
def test_of_few_reads_no_upper_limit_is_known(reads_each: int, told: str) -> None:
    outcome = reads([1.0] * reads_each, [4.0] * reads_each)
    assert outcome.verdict is (Verdict.UNKNOWN if told else Verdict.FAIL)
    assert outcome.message.endswith(told)


def test_reads_are_slower_for_sure_only_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for low_ms, verdict in ((3.0, Verdict.UNKNOWN), (3.001, Verdict.FAIL)):
        limits = Limits(low_ms * NS_PER_MS, 1.0 * NS_PER_MS)
        monkeypatch.setattr(speed, "percentile_limits", lambda *_, limits=limits: limits)
        outcome = reads([1.0] * ENOUGH, [5.0] * ENOUGH)
        assert outcome.verdict is verdict
        told = "; the reads are too few to tell: it may be 3 ms after 1 ms"
        assert outcome.message.endswith(told) is (verdict is Verdict.UNKNOWN)


def test_the_percentile_that_is_proven_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though another one is slower, too."""
    slow = [300.0] * ENOUGH
    assert "(p90 of the probe)" in reads([1.0] * ENOUGH, slow).message
    monkeypatch.setattr(speed, "_proven", lambda tail, *_: tail.percent == 99)
    assert "(p99 of the probe)" in reads([1.0] * ENOUGH, slow).message


def test_on_a_busy_host_reads_prove_nothing() -> None:
    late = replace(good(), processors=busy_host(0.5, start_ns=HEALED))
    outcome = reads([1.0] * ENOUGH, [5.0] * ENOUGH, measured=late)
    assert outcome.verdict is Verdict.UNKNOWN
    assert "; but after the fault the host held back 50%" in outcome.message
    assert "too few" not in outcome.message
    assert "steal after" in outcome.figures
    early = replace(good(), processors=busy_host(0.7, end_ns=HEALED))
    outcome = reads([1.0] * ENOUGH, [1.0] * ENOUGH, measured=early)
    assert outcome.verdict is Verdict.UNKNOWN
    assert "but before the fault the host held back 70%" in outcome.message
    half = replace(good(), processors=busy_host(0.5, end_ns=HEALED))
    assert reads([1.0] * ENOUGH, [1.0] * ENOUGH, measured=half).verdict is Verdict.PASS


def test_without_a_phase_before_or_after_a_fault_nothing_is_compared() -> None:
    unsettled = tuple(replace(phase, settled=False) for phase in good().phases)
    for phases in ((BEFORE,), unsettled):
        measured = replace(good(), phases=phases)
        assert found(latency_recovered(3), measured).message == (
            "there is no probe, or no phase after a fault"
        )
        assert found(throughput_recovered(0.9), measured).message == (
            "there is no phase after a fault"
        )
    load, _ = good().streams
    assert found(latency_recovered(3), replace(good(), streams=(load,))).message == (
        "there is no probe, or no phase after a fault"
    )


def test_a_paced_load_counts_up_to_its_pace() -> None:
    """Before and afterwards: what it makes up for is not what the paths deliver."""
    load, probe = good().streams
    at = np.arange(BEFORE.start_ns, AFTER.end_ns, NS_PER_S // 100, dtype=np.int64)
    size = np.where(at < BEFORE.start_ns + 3 * NS_PER_S, 200 * KIB, 100 * KIB).astype(np.int64)
    log = CompletionLog(at, at * 0 + NS_PER_MS, at * 0, size, at > 0, NS_PER_MS)
    paced = replace(load, completions=log, reported=len(at), pace=100 * 100.0 * KIB)
    finding = found(throughput_recovered(0.9), replace(good(), streams=(paced, probe)))
    assert finding.verdict is Verdict.PASS, finding.message
    assert finding.message.startswith("100.0% of the throughput before the fault")
