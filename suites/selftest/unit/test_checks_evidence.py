"""Evidence that cannot be trusted is told, each reason by its name and its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import Check, Finding, Verdict, evidence_sound, judge, kernel_sound
from harness.measurements import (
    ClockReading,
    KernelLog,
    KernelMessage,
    Measurements,
    ProcessorTime,
    Stream,
    Watching,
)
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import busy_host, without_io, without_samples
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START, failover

OOPS = KernelMessage(INJECTED, 1, "Oops: 0000 [#1] PREEMPT SMP PTI")


def good() -> Measurements:
    measured = failover()
    return replace(
        measured, kernel_logs=tuple(replace(log, lost=0) for log in measured.kernel_logs)
    )


def found(check: Check, measured: Measurements) -> Finding:
    return judge(measured, check).findings[0]


def watched(change: Callable[[Watching], Watching], machine: str = "target") -> Measurements:
    """A good failover, but for how one machine was watched."""
    measured = good()
    watching = tuple(change(w) if w.machine == machine else w for w in measured.watching)
    return replace(measured, watching=watching)


def every(watching: Watching, nth: int) -> Watching:
    return replace(
        watching,
        at_ns=watching.at_ns[::nth],
        wall_ahead_ns=watching.wall_ahead_ns[::nth],
        cpu_ns=watching.cpu_ns[::nth],
    )


def jumping(watching: Watching, by_ns: int) -> Watching:
    ahead = watching.wall_ahead_ns + np.where(watching.at_ns > INJECTED, by_ns, 0)
    return replace(watching, wall_ahead_ns=ahead)


def of_stream(change: Callable[[Stream], Stream]) -> Measurements:
    """A good failover, but for the probe."""
    measured = good()
    streams = tuple(change(s) if s.name == "probe" else s for s in measured.streams)
    return replace(measured, streams=streams)


def ended_at(stream: Stream, end_ns: int) -> Stream:
    log = stream.completions
    kept = log.at_ns <= end_ns
    columns = {
        name: getattr(log, name)[kept]
        for name in ("at_ns", "latency_ns", "offset", "size", "is_write")
    }
    return replace(stream, completions=replace(log, **columns), reported=int(kept.sum()))


def clocks(offset_ns: int, uncertainty_ns: int = NS_PER_MS) -> Measurements:
    """A good failover, but for the target's clock, which has moved when it is over."""
    readings = (
        ClockReading("target", START, NS_PER_S, NS_PER_MS),
        ClockReading("target", END, NS_PER_S + offset_ns, uncertainty_ns),
    )
    return replace(good(), clocks=(*good().clocks, *readings))


def looked_between(ahead_ns: int, uncertainty_ns: int) -> Measurements:
    """The target's clock is the same at both ends, and was that far ahead in between."""
    measured = clocks(0)
    look = ClockReading("target", (START + END) // 2, NS_PER_S + ahead_ns, uncertainty_ns)
    return replace(measured, clock_looks=(look,))


def test_a_clock_that_ran_slow_and_made_up_for_it_is_not_sound() -> None:
    """Both readings agree; the look between them does not."""
    finding = found(evidence_sound(), looked_between(-500 * NS_PER_MS, 5 * NS_PER_MS))
    assert finding.verdict is Verdict.UNKNOWN
    assert "the target's monotonic clock moved by 0.500 s in" in finding.message


@pytest.mark.parametrize(("ahead_ms", "uncertainty_ms"), [(0, 5), (5, 5), (-500, 600)])
def test_a_look_at_the_clock_that_may_agree_says_nothing(
    ahead_ms: int, uncertainty_ms: int
) -> None:
    """A busy host makes looks inexact: that is no move of the clock."""
    measured = looked_between(ahead_ms * NS_PER_MS, uncertainty_ms * NS_PER_MS)
    assert found(evidence_sound(), measured).verdict is Verdict.PASS


def test_sound_evidence_is_told_with_its_figures() -> None:
    """How often, how evenly and how cheaply samples were taken; how well clocks are known."""
    finding = found(evidence_sound(), good())
    assert finding.verdict is Verdict.PASS
    assert finding.figures == {
        "samples of the initiator": "12.5 a second, longest gap 80 ms, taking 2.0% of a processor",
        "samples of the target": "12.5 a second, longest gap 80 ms, taking 2.0% of a processor",
        "clock uncertainty": "1.90 ms at the median",
    }


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (replace(good(), cut_short="fio ended early"), "the I/O was cut short: fio ended early"),
        (failover(), "2 records of the target's kernel log were lost"),
        (replace(good(), kernel_logs=()), "no kernel log was followed"),
        (
            replace(good(), kernel_logs=good().kernel_logs[:1]),
            "the target's kernel log was not followed",
        ),
        (replace(good(), watching=()), "no machine was watched"),
        (
            watched(lambda w: replace(w, died="killed")),
            "the target was not watched to the end: killed",
        ),
        (
            watched(lambda w: replace(w, missing_marks=("begins",))),
            "the mark 'begins' is not in the target's kernel log",
        ),
        (
            watched(lambda w: every(w, 2), "initiator"),
            "only 6.2 samples a second of the initiator, 10 wanted",
        ),
        (
            watched(lambda w: without_samples(w, INJECTED, INJECTED + 2 * NS_PER_S)),
            "no sample of the target for 2.2 s",
        ),
        (
            watched(lambda w: without_samples(w, END - 2 * NS_PER_S, END)),
            "no sample of the target for 2.0 s",
        ),
        (
            watched(lambda w: jumping(w, -3600 * NS_PER_S)),
            "the target's wall clock jumped by 3600.0 s",
        ),
        (
            clocks(-2 * NS_PER_S),
            "the target's monotonic clock moved by 2.000 s in 29.0 s against the host's",
        ),
        (clocks(0, 60 * NS_PER_MS), "the target's clock is known to 60 ms only"),
        (
            of_stream(lambda s: replace(s, reported=len(s.completions) + 1)),
            "job 'probe': 2851 I/Os in fio's log, 2852 in its report",
        ),
        (
            of_stream(lambda s: replace(s, reported=None)),
            "job 'probe': 2851 I/Os in fio's log, none in its report",
        ),
        (
            of_stream(lambda s: ended_at(s, END - 3 * NS_PER_S)),
            "job 'probe' ended 3.0 s before the test",
        ),
        (
            of_stream(lambda s: without_io(s, INJECTED + 5 * NS_PER_S, INJECTED + 8 * NS_PER_S)),
            "the probe sent nothing for 3.0 s: a stall in that time would be unseen",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_wrong_with_the_evidence_is_named(measured: Measurements, reason: str) -> None:
    """It is unknown, never a failure: it is not known what the storage did."""
    finding = found(evidence_sound(), measured)
    assert (finding.verdict, finding.message) == (Verdict.UNKNOWN, reason)


def test_a_probe_that_its_host_does_not_run_sends_nothing() -> None:
    """Nothing of the storage is hidden by that."""
    span = (INJECTED + 5 * NS_PER_S, INJECTED + 8 * NS_PER_S)
    measured = of_stream(lambda s: without_io(s, *span))
    busy = busy_host(0.7, start_ns=span[0], end_ns=span[1])
    assert found(evidence_sound(), replace(measured, processors=busy)).verdict is Verdict.PASS


def test_all_that_is_wrong_is_named() -> None:
    """One reason does not hide another."""
    measured = replace(failover(), cut_short="fio ended early", watching=())
    assert found(evidence_sound(), measured).message == (
        "2 records of the target's kernel log were lost; no machine was watched; "
        "the I/O was cut short: fio ended early"
    )


def test_a_machine_that_its_host_does_not_run_has_nothing_to_be_seen() -> None:
    """A gap of two seconds, of which it lacked a processor for 1.5; or for 0.5."""
    gap = (INJECTED, INJECTED + 2 * NS_PER_S)
    measured = watched(lambda w: without_samples(w, *gap))
    for waited_s, verdict in ((1.5, Verdict.PASS), (0.5, Verdict.UNKNOWN)):
        at_ns = np.array([START, *gap, END], dtype=np.int64)
        waited_ns = np.array([0, 0, waited_s, waited_s]) * NS_PER_S
        waited_ns = waited_ns.astype(np.int64)[:, np.newaxis]
        host = ProcessorTime(at_ns, at_ns[:, np.newaxis] - START, waited_ns, ("target",))
        finding = found(evidence_sound(), replace(measured, processors=host))
        assert finding.verdict is verdict, finding.message
        others = replace(host, machines=("initiator",))
        finding = found(evidence_sound(), replace(measured, processors=others))
        assert finding.verdict is Verdict.UNKNOWN  # what another lacked was not its loss


def test_a_job_need_not_go_on_where_every_path_is_dead() -> None:
    """The last phase may be such a one if the test was cut short."""
    measured = of_stream(lambda s: ended_at(s, HEALED))
    *others, last = measured.phases
    excused = replace(measured, phases=(*others, replace(last, io_expected=False)))
    assert found(evidence_sound(), measured).verdict is Verdict.UNKNOWN
    assert found(evidence_sound(), excused).verdict is Verdict.PASS


@given(st.integers(-10_000, 10_000), st.integers(0, 40_000_000))
def test_a_clock_may_drift_by_what_crystals_and_readings_explain(
    ppm: int, uncertainty_ns: int
) -> None:
    """500 parts per million, plus the uncertainty of both readings."""
    moved_ns = (END - START) * ppm // 1_000_000
    explained_ns = (END - START) * 500 // 1_000_000 + NS_PER_MS + uncertainty_ns
    verdict = Verdict.PASS if abs(moved_ns) <= explained_ns else Verdict.UNKNOWN
    assert found(evidence_sound(), clocks(moved_ns, uncertainty_ns)).verdict is verdict


@given(st.integers(-(10**10), 10**10))
def test_a_wall_clock_may_be_trimmed_but_not_set(by_ns: int) -> None:
    """By more than a second at once, in either direction."""
    verdict = Verdict.PASS if abs(by_ns) <= NS_PER_S else Verdict.UNKNOWN
    assert found(evidence_sound(), watched(lambda w: jumping(w, by_ns))).verdict is verdict


def test_a_machine_without_any_sample_was_not_watched() -> None:
    """It is unknown, and nothing is divided by zero."""
    measured = watched(lambda w: without_samples(w, START, END))
    finding = found(evidence_sound(), measured)
    assert finding.verdict is Verdict.UNKNOWN
    assert "only 0.0 samples a second of the target" in finding.message
    assert "no sample of the target for 29.0 s" in finding.message
    assert "crashed" not in finding.message


@pytest.mark.parametrize("machine", ["initiator", "target"])
def test_trouble_in_either_kernel_fails(machine: str) -> None:
    """With the machine and the line; also if other records were lost."""
    measured = failover()
    logs = tuple(
        replace(log, messages=(OOPS,)) if log.machine == machine else log
        for log in measured.kernel_logs
    )
    finding = found(kernel_sound(), replace(measured, kernel_logs=logs))
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith(f"{machine}: {OOPS.text}")
    assert finding.figures["signs of trouble"] == "1"


HUNG = KernelMessage(INJECTED, 3, "INFO: task backup:412 blocked for more than 120 seconds.")
KILLED = KernelMessage(INJECTED, 3, "Out of memory: Killed process 4711 (java) total-vm:1024kB")


@pytest.mark.parametrize("message", [HUNG, KILLED], ids=["hung", "killed"])
def test_distress_of_a_process_may_be_another_programs(message: KernelMessage) -> None:
    """On a machine that the run did not make, and only there."""
    measured = good()
    log, *others = measured.kernel_logs
    spoilt = replace(measured, kernel_logs=(replace(log, messages=(message,)), *others))
    for existing, verdict in (
        ((), Verdict.FAIL),
        (("target",), Verdict.FAIL),
        (("initiator",), Verdict.UNKNOWN),
    ):
        finding = found(kernel_sound(), replace(spoilt, existing=existing))
        assert finding.verdict is verdict
        assert f"initiator: {message.text}" in finding.message
        assert finding.figures["signs of trouble"] == "1"


@pytest.mark.parametrize(
    "text",
    [
        "I/O error, dev vdb, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        "critical medium error, dev vdb, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1",
        "Buffer I/O error on dev vdb, logical block 0, async page read",
        "EXT4-fs error (device vda1): ext4_find_entry:1463: inode #2: comm ls: reading directory",
        "timeout error, dev vdb, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2",
        "device offline error, dev sdb, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        "critical nexus error, dev sdb, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2",
        "reservation conflict error, dev sdb, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1",
        "recoverable transport error, dev sdb, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1",
        "EXT4-fs (vdb): This should not happen!! Data will be lost",
        "JBD2: Detected IO errors while flushing file data on vda1-8",
        "Aborting journal on device vda1-8.",
    ],
)
def test_an_error_of_a_disk_is_trouble_on_the_target_only(text: str) -> None:
    """On the initiator a path that dies has such errors; an existing target has other users."""
    error = KernelMessage(INJECTED, 3, text)
    verdicts = []
    for machine, existing in (("target", ()), ("initiator", ()), ("target", ("target",))):
        logs = tuple(
            replace(log, messages=(error,) if log.machine == machine else ())
            for log in good().kernel_logs
        )
        verdicts.append(
            found(kernel_sound(), replace(good(), kernel_logs=logs, existing=existing)).verdict
        )
    assert verdicts == [Verdict.FAIL, Verdict.PASS, Verdict.UNKNOWN]


def test_a_defect_of_the_kernel_is_one_on_any_machine() -> None:
    """Whatever else is in its log."""
    measured = good()
    log, *others = measured.kernel_logs
    spoilt = replace(measured, kernel_logs=(replace(log, messages=(HUNG, OOPS)), *others))
    finding = found(kernel_sound(), replace(spoilt, existing=("initiator",)))
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith(f"initiator: {OOPS.text} (")


@pytest.mark.parametrize(
    ("text", "steal", "verdict"),
    [
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [fio:9]", 0.9, Verdict.UNKNOWN),
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [fio:9]", 0.2, Verdict.FAIL),
        ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", 0.9, Verdict.UNKNOWN),
        ("BUG: unable to handle page fault for address: 0000000000001000", 0.9, Verdict.FAIL),
    ],
)
def test_a_lockup_on_a_busy_host_may_be_the_hosts(
    text: str, steal: float, verdict: Verdict
) -> None:
    """A processor that is not run for 20 s looks like one that is stuck."""
    measured = good()
    log, *others = measured.kernel_logs
    said = KernelMessage(END - NS_PER_S, 0, text)
    spoilt = replace(measured, kernel_logs=(replace(log, messages=(said,)), *others))
    busy = replace(spoilt, processors=busy_host(steal))
    finding = found(kernel_sound(), busy)
    assert finding.verdict is verdict, finding.message
    assert ("but the host held back 90%" in finding.message) is (verdict is Verdict.UNKNOWN)
    assert found(kernel_sound(), spoilt).verdict is Verdict.FAIL


def test_sound_kernels_are_told_with_how_much_was_read() -> None:
    finding = found(kernel_sound(), good())
    assert (finding.verdict, finding.message) == (
        Verdict.PASS,
        "no sign of trouble in the logs of initiator and target",
    )
    assert finding.figures == {"records of the initiator": "1", "records of the target": "0"}


@pytest.mark.parametrize(
    "logs", [(), failover().kernel_logs, (KernelLog("initiator", (), 0),)], ids=len
)
def test_a_kernel_log_that_was_not_read_whole_leaves_it_open(logs: tuple[KernelLog, ...]) -> None:
    """None, one with records lost, or that of one machine only."""
    assert found(kernel_sound(), replace(good(), kernel_logs=logs)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("check", [kernel_sound(), evidence_sound()])
def test_a_machine_that_could_not_be_watched_leaves_it_open(check: Check) -> None:
    """A target that panicked left neither a log nor samples."""
    measured = good()
    alone = replace(measured, kernel_logs=measured.kernel_logs[:1], watching=measured.watching[:1])
    finding = found(check, alone)
    assert finding.verdict is Verdict.UNKNOWN
    assert "the target's kernel log was not followed" in finding.message
