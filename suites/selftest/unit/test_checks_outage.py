"""What the surviving paths deliver during an outage, and reads that are slow at their tail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.outage import settled_outage, survivors
from harness.analysis.throughput import binned_rates, credited
from harness.checks import (
    Check,
    Verdict,
    latency_held,
    latency_recovered,
    load_shared_again,
    throughput_held,
    throughput_recovered,
)
from harness.measurements import Measurements, Stream
from harness.timeline import Happened, Phase, Timeline
from harness.units import KIB, NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import (
    busy_host,
    carrying,
    found,
    good,
    not_sampled,
    with_counters,
    with_stream,
    without_io,
)
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, STALL_S, START

WENT_ON = INJECTED + int(STALL_S * NS_PER_S)
PAUSE = INJECTED + 6 * NS_PER_S, INJECTED + 8 * NS_PER_S
BEFORE = 18 * 1024 * KIB  # what path b carried in 6 s


def carried_by_the_survivor(percent: float) -> Measurements:
    """In the outage, once I/O has gone on, fio gets that part of what path b carried before."""

    def less(stream: Stream) -> Stream:
        log = stream.completions
        during = (log.at_ns > WENT_ON) & (log.at_ns < HEALED)
        size = np.where(during, log.size * percent / 100 / 2, log.size).astype(np.int64)
        return replace(stream, completions=replace(log, size=size))

    return with_stream(good(), "random writes", less)


def latencies(
    measured: Measurements, change: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Measurements:
    """The probe with the latencies that `change` makes of times and latencies."""

    def changed(stream: Stream) -> Stream:
        log = stream.completions
        latency_ns = change(log.at_ns, log.latency_ns).astype(np.int64)
        return replace(stream, completions=replace(log, latency_ns=latency_ns))

    return with_stream(measured, "probe", changed)


def hanging(measured: Measurements, start_ns: int, end_ns: int) -> Measurements:
    """As if each stream had had an I/O outstanding in a stretch of time, and completed none."""

    def waiting(stream: Stream) -> Stream:
        rest = without_io(stream, start_ns, end_ns)
        log = rest.completions
        latency_ns = log.latency_ns.copy()
        first = int(np.searchsorted(log.at_ns, end_ns))
        latency_ns[first] = log.at_ns[first] - start_ns
        return replace(rest, completions=replace(log, latency_ns=latency_ns))

    for stream in measured.streams:
        measured = with_stream(measured, stream.name, waiting)
    return measured


def test_io_is_settled_once_it_has_gone_on() -> None:
    """And survivors are those that no fault hit, and that carried something before."""
    (fault,) = good().faults
    assert settled_outage(good(), fault) == Phase(
        "during SilentDrop(a)", WENT_ON + 250 * NS_PER_MS, HEALED
    )
    assert settled_outage(good(), replace(fault, io_stops=True)) is None
    assert [one.path for one in survivors(good(), fault)] == ["b"]


def test_what_is_given_up_after_the_order_to_heal_belongs_to_no_outage() -> None:
    """A map of which groups change is loaded anew, and tries a path that is still dead."""
    measured = good()
    (fault,) = measured.faults
    ordered = HEALED - 6 * NS_PER_S
    fault = replace(fault, healing_ns=ordered)
    settled = Phase("during SilentDrop(a)", WENT_ON + 250 * NS_PER_MS, ordered)
    again = replace(
        next(e for e in measured.timeline if e.what is Happened.PATH_FAILED),
        at_ns=ordered + NS_PER_S,
    )
    measured = replace(measured, timeline=Timeline.of([*measured.timeline, again]))
    assert settled_outage(measured, fault) == settled
    measured = hanging(measured, ordered + 1, HEALED)
    assert settled_outage(measured, fault) == settled
    only = [e for e in measured.timeline if e.what is not Happened.PATH_FAILED]
    measured = replace(measured, timeline=Timeline.of([*only, again]))
    assert settled_outage(measured, fault) is None


@pytest.mark.parametrize("took_s", [0, 3])
def test_io_that_stood_still_until_the_order_to_heal_has_an_outage_to_compare(took_s: int) -> None:
    """Though it went on before the order returned: the survivors carried nothing all along."""
    measured = good()
    (fault,) = measured.faults
    went_on = HEALED + NS_PER_S
    slow = replace(fault, healing_ns=HEALED, healed_ns=HEALED + took_s * NS_PER_S)
    slow = replace(slow, healing_confirmed_ns=max(fault.healing_confirmed_ns, slow.healed_ns))
    measured = replace(measured, faults=(slow,))
    measured = hanging(measured, INJECTED, went_on)
    measured = with_counters(measured, "b", lambda c: carrying(c, INJECTED, HEALED, 0))
    during = settled_outage(measured, slow)
    assert during is not None
    assert during.end_ns == HEALED
    assert found(throughput_held(0.9), measured).verdict is Verdict.FAIL


def test_a_path_in_reserve_is_lost_when_it_is_given_up() -> None:
    """No I/O waited for it; what pauses later is none of its loss."""
    measured = good()
    (fault,) = measured.faults
    states = tuple(replace(one, reserve=frozenset({"a"})) for one in measured.path_states)
    measured = replace(measured, path_states=states)
    (failed,) = (e for e in measured.timeline if e.what is Happened.PATH_FAILED)
    measured = hanging(measured, *PAUSE)
    during = settled_outage(measured, fault)
    assert during is not None
    assert during.start_ns == failed.at_ns + 250 * NS_PER_MS


@pytest.mark.parametrize(("percent", "verdict"), [(95, Verdict.PASS), (70, Verdict.FAIL)])
def test_survivors_must_not_carry_less_than_before(percent: int, verdict: Verdict) -> None:
    """They had half of the load, and may keep to it."""
    finding = found(throughput_held(0.9), carried_by_the_survivor(percent))
    assert finding.verdict is verdict, finding.message
    assert finding.message.startswith("SilentDrop(a): ")
    assert "% of what the surviving paths carried before the fault, at least 90%" in finding.message
    assert "before, over the surviving paths" in finding.figures


@pytest.mark.parametrize(("percent", "verdict"), [(100, Verdict.PASS), (2, Verdict.UNKNOWN)])
def test_survivors_that_had_been_in_reserve_are_held_to_the_load(
    percent: int, verdict: Verdict
) -> None:
    """They carried nothing before, and may be slower: so the load tells, and fails nothing."""

    def little(stream: Stream) -> Stream:
        log = stream.completions
        during = (log.at_ns > WENT_ON) & (log.at_ns < HEALED)
        size = np.where(during, log.size * percent // 100, log.size)
        return replace(stream, completions=replace(log, size=size))

    measured = with_stream(good(), "random writes", little)
    states = tuple(
        replace(seen, reserve=frozenset({"b"} if seen.at_ns <= INJECTED else ()))
        for seen in measured.path_states
    )
    finding = found(throughput_held(0.9), replace(measured, path_states=states))
    assert finding.verdict is verdict
    assert finding.message.startswith(
        "SilentDrop(a): the paths that were left had been in reserve; "
    )
    assert "% of the throughput before the fault, at least 90% wanted" in finding.message
    slower = finding.message.endswith("; a path in reserve may be slower than one in use")
    assert slower is (verdict is Verdict.UNKNOWN)


def test_survivors_of_which_nothing_was_measured_are_open() -> None:
    """None of them is known to have been in reserve."""
    for counters in ((), good().counters[:1]):
        finding = found(throughput_held(0.9), replace(good(), counters=counters))
        assert finding.verdict is Verdict.UNKNOWN, finding.message
        assert finding.message == "SilentDrop(a): no byte counters of a path that was left"


def test_an_outage_that_was_too_short_to_compare_is_open() -> None:
    """Healed a second after the path was given up. Of a loss of all paths there is nothing."""
    measured = good()
    (fault,) = measured.faults
    soon = replace(fault, healed_ns=WENT_ON + NS_PER_S)
    for check in (throughput_held(0.9), latency_held(5)):
        finding = found(check, replace(measured, faults=(soon,)))
        assert finding.verdict is Verdict.UNKNOWN
        assert "only 0.8 s between the loss" in finding.message
        stopped = replace(measured, faults=(replace(fault, io_stops=True),))
        assert found(check, stopped).verdict is Verdict.PASS
        assert found(check, replace(measured, faults=())).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("times", "verdict"), [(4, Verdict.PASS), (8, Verdict.FAIL)])
def test_reads_that_are_slow_while_a_path_is_dead_fail(times: int, verdict: Verdict) -> None:
    """Whatever they are once it is healed."""
    slow = latencies(
        good(), lambda at, taken: np.where((at > WENT_ON) & (at < HEALED), times * taken, taken)
    )
    assert found(latency_recovered(3), slow).verdict is Verdict.PASS
    finding = found(latency_held(5), slow)
    assert finding.verdict is verdict, finding.message


def catching_up(seconds: float, *, slow_s: float) -> Measurements:
    """The paced load makes up for the stall in so many seconds, and reads are slow for some."""

    def paced(stream: Stream) -> Stream:
        log = stream.completions
        busy = (log.at_ns > WENT_ON) & (log.at_ns < WENT_ON + seconds * NS_PER_S)
        # In the stall it missed so many bytes; here each I/O carries its share of them.
        extra = 1 + STALL_S / seconds
        size = np.where(busy, 4096 * extra, 4096).astype(np.int64)
        return replace(stream, pace=1500 * 4096.0, completions=replace(log, size=size))

    slow = latencies(
        good(),
        lambda at, taken: np.where(
            (at > WENT_ON) & (at < WENT_ON + slow_s * NS_PER_S), 8 * taken, taken
        ),
    )
    return with_stream(slow, "random writes", paced)


def test_reads_are_not_compared_while_fio_makes_up_for_the_stall() -> None:
    """All of its depth is outstanding for 5 s, and the reads of these 5 s are slow."""
    unpaced = latencies(
        good(),
        lambda at, taken: np.where(
            (at > WENT_ON) & (at < WENT_ON + 5 * NS_PER_S), 8 * taken, taken
        ),
    )
    assert found(latency_held(5), unpaced).verdict is Verdict.FAIL
    finding = found(latency_held(5), catching_up(5, slow_s=5))
    assert finding.verdict is Verdict.PASS, finding.message
    assert found(latency_held(5), catching_up(5, slow_s=11)).verdict is Verdict.FAIL


@pytest.mark.parametrize(("seconds", "ended"), [(30, "its pace"), (10.5, "s before healing")])
def test_slow_reads_of_io_that_never_catches_up_are_open(seconds: float, ended: str) -> None:
    """Or that does so too late to compare. Reads that are quick all the same pass."""
    finding = found(latency_held(5), catching_up(seconds, slow_s=11))
    assert finding.verdict is Verdict.UNKNOWN, finding.message
    assert "still catching up with its pace" in finding.message
    assert finding.message.endswith(ended)
    assert found(latency_held(5), catching_up(seconds, slow_s=0)).verdict is Verdict.PASS


def test_a_stream_that_did_not_keep_its_pace_before_has_nothing_to_make_up_for() -> None:
    """It had its whole depth outstanding then, too."""
    slow = with_stream(
        catching_up(30, slow_s=11), "random writes", lambda s: replace(s, pace=3000 * 4096.0)
    )
    assert found(latency_held(5), slow).verdict is Verdict.FAIL


def tail_of(taken_ns: int) -> Measurements:
    """Of the probe's reads after healing one of forty takes so long."""

    def tail(at: np.ndarray, taken: np.ndarray) -> np.ndarray:
        slow = (at > HEALED) & (np.arange(len(at)) % 40 == 0)
        return np.where(slow, taken_ns, taken)

    return latencies(good(), tail)


def test_single_reads_that_take_less_than_a_stall_are_no_tail() -> None:
    """An emulated machine has some without a cause."""
    assert found(latency_recovered(3), tail_of(95 * NS_PER_MS)).verdict is Verdict.PASS
    assert found(latency_recovered(3), tail_of(130 * NS_PER_MS)).verdict is Verdict.FAIL


def test_a_tail_of_a_second_is_no_recovered_latency() -> None:
    """Two of a hundred reads: the 90th percentile is as it was."""
    finding = found(latency_recovered(3), tail_of(NS_PER_S))
    assert finding.verdict is Verdict.FAIL, finding.message
    assert "(p99 of the probe)" in finding.message
    assert finding.numbers["after_longest_s"] == 1.0
    assert finding.numbers["after_p90_s"] < 0.01


@pytest.mark.parametrize(("after_us", "verdict"), [(200, Verdict.PASS), (3000, Verdict.FAIL)])
def test_what_is_little_in_itself_is_not_slow_whatever_the_ratio(
    after_us: int, verdict: Verdict
) -> None:
    """60 us became 200 us."""
    spread = np.linspace(0.9, 1.1, 101)

    def quick(at: np.ndarray, _: np.ndarray) -> np.ndarray:
        even = spread[np.arange(len(at)) % len(spread)]
        return even * np.where(at > HEALED, after_us, 60) * 1000

    finding = found(latency_recovered(3), latencies(good(), quick))
    assert finding.verdict is verdict, finding.message


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [(0.0, 0.05, Verdict.FAIL), (0.0, 0.25, Verdict.UNKNOWN), (0.25, 0.05, Verdict.FAIL)],
)
def test_a_host_that_was_busier_afterwards_proves_no_loss(
    before: float, after: float, verdict: Verdict
) -> None:
    """Busy loops that begin at healing made healthy storage look slow."""
    quiet, busy = busy_host(before, end_ns=HEALED), busy_host(after, start_ns=HEALED)
    waited = np.array([0, before * (HEALED - START), before * (HEALED - START)])
    waited[2] += after * (END - HEALED)
    at_ns = np.array([START, HEALED, END], dtype=np.int64)
    ran = at_ns - START - waited
    host = replace(
        quiet,
        at_ns=at_ns,
        waited_ns=np.column_stack([waited] * 2).astype(np.int64),
        ran_ns=np.column_stack([ran] * 2).astype(np.int64),
    )
    assert busy.machines == host.machines
    slow = latencies(good(), lambda at, taken: np.where(at > HEALED, 10 * taken, taken))
    finding = found(latency_recovered(3), replace(slow, processors=host))
    assert finding.verdict is verdict, finding.message
    assert ("too different to compare" in finding.message) is (verdict is Verdict.UNKNOWN)


def test_what_makes_up_for_the_time_before_is_no_throughput() -> None:
    """Twice the pace, then nothing: on the average the pace, and not what the paths deliver."""
    assert credited(np.array([2.0, 2.0, 0.0, 0.0]), 1.0).tolist() == [1.0, 1.0, 0.0, 0.0]
    assert credited(np.array([1.0, 0.0, 2.0, 1.0]), 1.0).tolist() == [1.0, 0.0, 2.0, 1.0]
    assert credited(np.array([3.0, 0.0]), float("inf")).tolist() == [3.0, 0.0]


def test_a_dip_behind_a_load_that_catches_up_fails() -> None:
    """On the average it is more than the pace: all that was due in half a second, then 70 %."""

    def catching_up(stream: Stream) -> Stream:
        log = stream.completions
        share = np.where(
            log.at_ns < HEALED, 10, np.where(log.at_ns < HEALED + NS_PER_S // 2, 90, 7)
        )
        changed = replace(log, size=log.size * share)
        pace = 1500 * 4096 * 10.0
        return replace(stream, completions=changed, pace=pace)

    paced = with_stream(good(), "random writes", catching_up)
    (load, _), after = paced.streams, paced.phases[-1]
    assert binned_rates([load], after).mean() > 0.9 * (load.pace or 0)
    finding = found(throughput_recovered(0.9), paced)
    assert finding.verdict is Verdict.FAIL, finding.message


def test_a_loss_that_is_little_in_itself_is_none() -> None:
    """A fifth of 40 KiB a second."""

    def little(stream: Stream) -> Stream:
        log = stream.completions
        return replace(stream, completions=replace(log, size=np.where(log.at_ns > HEALED, 80, 100)))

    finding = found(throughput_recovered(0.9), with_stream(good(), "random writes", little))
    assert finding.verdict is Verdict.PASS


@pytest.mark.parametrize("check", [load_shared_again(0.5), throughput_held(0.9)])
def test_counters_that_were_not_sampled_fail_nothing(check: Check) -> None:
    """A machine that gave no sample for three seconds is no witness."""

    measured = with_counters(
        carried_by_the_survivor(10), "a", lambda c: carrying(c, HEALED, END, 100_000)
    )
    assert found(check, measured).verdict is Verdict.FAIL
    finding = found(check, not_sampled(measured, HEALED, HEALED + 3 * NS_PER_S))
    assert finding.verdict is Verdict.UNKNOWN
    assert "no sample of the initiator for 3." in finding.message
