"""Evidence at its very limits: what is sound is so to the last nanosecond, and no longer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.checks import Finding, Verdict, evidence_sound
from harness.measurements import ClockReading, Measurements, Watching
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import found, good, with_stream
from suites.selftest.unit.synthetic_failover import END, START


def judged(measured: Measurements, problem: str) -> Finding:
    """It has that problem if it is unknown, and none if it passes."""
    finding = found(evidence_sound(), measured)
    assert finding.verdict in {Verdict.PASS, Verdict.UNKNOWN}
    assert (problem in finding.message) is (finding.verdict is Verdict.UNKNOWN), finding.message
    return finding


def watched(**changes: object) -> Measurements:
    """With an initiator that was watched otherwise."""
    first, *others = good().watching
    return replace(good(), watching=(replace(first, **changes), *others))  # type: ignore[arg-type]


def at(*at_ns: int) -> dict[str, object]:
    """The columns of a machine that was sampled then."""
    times = np.array(at_ns, dtype=np.int64)
    return {"at_ns": times, "wall_ahead_ns": times * 0, "cpu_ns": (times - START) // 50}


def test_numbers_are_in_seconds() -> None:
    numbers = found(evidence_sound(), good()).numbers
    watching: Watching = good().watching[0]
    assert numbers["longest_gap_initiator_s"] == pytest.approx(0.08)
    assert numbers["samples_per_s_initiator"] == pytest.approx(12.5)
    assert numbers["processor_share_initiator"] == pytest.approx(watching.cpu_share)
    assert numbers["clock_uncertainty_s"] == pytest.approx(0.0019)
    assert "clock_uncertainty_s" not in found(evidence_sound(), replace(good(), clocks=())).numbers


@pytest.mark.parametrize(
    ("every_ns", "verdict"),
    [(100 * NS_PER_MS, Verdict.PASS), (100 * NS_PER_MS + 1, Verdict.UNKNOWN)],
)
def test_ten_samples_a_second_are_enough(every_ns: int, verdict: Verdict) -> None:
    times = range(START, END, every_ns)
    finding = judged(watched(**at(*times)), " samples a second of the initiator, 10 wanted")
    assert finding.verdict is verdict


@pytest.mark.parametrize(("beyond_ns", "verdict"), [(0, Verdict.PASS), (1, Verdict.UNKNOWN)])
def test_a_second_without_a_sample_is_no_gap(beyond_ns: int, verdict: Verdict) -> None:
    step = 50 * NS_PER_MS
    later = START + 2 * NS_PER_S + beyond_ns
    times = (*range(START, START + NS_PER_S + 1, step), *range(later, END, step))
    finding = judged(watched(**at(*times)), "no sample of the initiator for 1.0 s")
    assert finding.verdict is verdict


@pytest.mark.parametrize(("beyond_ns", "verdict"), [(0, Verdict.PASS), (1, Verdict.UNKNOWN)])
def test_a_wall_clock_may_move_by_a_second(beyond_ns: int, verdict: Verdict) -> None:
    first = good().watching[0]
    ahead = np.where(first.at_ns > START + NS_PER_S, NS_PER_S + beyond_ns, 0)
    finding = judged(watched(wall_ahead_ns=ahead), "the initiator's wall clock jumped by 1.0 s")
    assert finding.verdict is verdict


@pytest.mark.parametrize(("beyond_ns", "verdict"), [(0, Verdict.PASS), (1, Verdict.UNKNOWN)])
def test_a_clock_may_be_known_to_fifty_milliseconds(beyond_ns: int, verdict: Verdict) -> None:
    reading = ClockReading("initiator", START, NS_PER_S, 50 * NS_PER_MS + beyond_ns)
    finding = judged(replace(good(), clocks=(reading,)), "the initiator's clock is known to 50 ms")
    assert finding.verdict is verdict


@pytest.mark.parametrize(("beyond_ns", "verdict"), [(0, Verdict.PASS), (1, Verdict.UNKNOWN)])
def test_a_job_may_end_a_second_before_the_test(beyond_ns: int, verdict: Verdict) -> None:
    probe = next(one for one in good().streams if one.name == "probe")
    log = probe.completions
    at_ns = np.minimum(log.at_ns, END - NS_PER_S - beyond_ns)
    early = replace(probe, completions=replace(log, at_ns=at_ns))
    measured = with_stream(good(), "probe", lambda _: early)
    assert judged(measured, "job 'probe' ended 1.0 s before the test").verdict is verdict


def test_a_phase_without_io_has_no_job_that_ends_early() -> None:
    """Nor has a test that had no phase, or a job that did no I/O: others say so."""
    *others, last = good().phases
    idle = replace(last, end_ns=END + 5 * NS_PER_S, io_expected=False)
    assert (
        "before the test"
        not in found(evidence_sound(), replace(good(), phases=(*others, idle))).message
    )
    assert "before the test" not in found(evidence_sound(), replace(good(), phases=())).message


@pytest.mark.parametrize(("reported", "told"), [(None, "none"), (7, "7")])
def test_ios_that_fio_reports_otherwise_are_told(reported: int | None, told: str) -> None:
    logged = len(good().streams[1].completions)
    measured = with_stream(good(), "probe", lambda s: replace(s, reported=reported))
    finding = judged(measured, f"job 'probe': {logged} I/Os in fio's log, {told} in its report")
    assert finding.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("kept", "early"), [(0, ""), (1, "job 'probe' ended ")])
def test_a_job_without_io_does_not_end_early(kept: int, early: str) -> None:
    """With a single one it does."""
    probe = next(one for one in good().streams if one.name == "probe")
    columns = ("at_ns", "latency_ns", "offset", "size", "is_write")
    log = probe.completions
    few = replace(log, **{name: getattr(log, name)[:kept] for name in columns})
    measured = with_stream(good(), "probe", lambda s: replace(s, completions=few, reported=kept))
    finding = found(evidence_sound(), measured)
    assert finding.crash == ""
    assert early in finding.message
    assert ("ended" in finding.message) is bool(early)
