"""The resident program on this very host, with its real kernel log."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from harness.deadline import Deadline, poll
from harness.errors import HarnessError, MachineError, TimedOut
from harness.machine import LocalMachine
from harness.observe import MapSample, Observer, Watch, observing
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest import needs

KMSG = Path("/dev/kmsg")
DISKS = sorted(p.name for p in Path("/sys/block").glob("*") if (p / "stat").exists())

pytestmark = pytest.mark.skipif(
    not (os.getuid() == 0 and os.access(KMSG, os.W_OK)),
    reason=needs.ROOT_WITH_KMSG,
)


@pytest.fixture
def observer() -> Iterator[Observer]:
    with observing(LocalMachine()) as running:
        running.watch(Watch(disks=("no-such-disk",)))
        yield running


def test_this_hosts_clock_is_found_to_be_its_own(observer: Observer) -> None:
    """Offset zero within the uncertainty, and that is small."""
    reading = observer.read_clock()
    assert abs(reading.offset_ns) <= reading.uncertainty_ns
    assert reading.uncertainty_ns < 5 * NS_PER_MS
    assert abs(reading.at_ns - time.monotonic_ns()) < 5 * NS_PER_S


def test_a_mark_appears_in_the_kernel_log_at_the_time_it_was_made(observer: Observer) -> None:
    """It is what every later record is judged from."""
    before_ns = time.monotonic_ns()
    observer.begin("pathproof: selftest mark")
    after_ns = time.monotonic_ns()
    seen = observer.collect()
    (mark,) = [m for m in seen.kernel_log.messages if m.text == "pathproof: selftest mark"]
    # The kernel's own clock may run apart from CLOCK_MONOTONIC between two marks.
    assert before_ns - 50 * NS_PER_MS <= mark.at_ns <= after_ns + 50 * NS_PER_MS
    assert seen.kernel_log.lost == 0
    assert len(seen.clock.readings) == 2


def test_a_look_at_the_clock_is_kept_apart_from_the_readings(observer: Observer) -> None:
    """Times are converted by the readings alone."""
    observer.begin("pathproof: selftest looks")
    observer.look_at_clock(5)
    seen = observer.collect()
    (look,) = seen.clock_looks
    first, last = seen.clock.readings
    assert first.at_ns < look.at_ns < last.at_ns
    assert abs(look.offset_ns) <= look.uncertainty_ns


def test_what_a_daemon_said_is_not_the_kernels(observer: Observer) -> None:
    """journald may forward it, with its facility (ForwardToKMsg=); syslog(3) numbers it 3."""
    observer.begin("pathproof: selftest facilities")
    KMSG.write_text("<30>monitor[812]: alert: 'watchdog: BUG: soft lockup - CPU#1'\n")
    KMSG.write_text("<4>WARNING: planted\n")
    seen = observer.collect().kernel_log
    assert [m.text for m in seen.messages if m.text.startswith(("monitor", "WARNING"))] == [
        "WARNING: planted"
    ]
    assert seen.lost == 0


def test_what_was_before_the_beginning_is_forgotten(observer: Observer) -> None:
    """One observer serves many tests."""
    observer.begin("pathproof: selftest one")
    observer.begin("pathproof: selftest two")
    texts = [m.text for m in observer.collect().kernel_log.messages]
    assert "pathproof: selftest one" not in texts
    assert "pathproof: selftest two" in texts


def test_samples_come_at_least_ten_times_a_second(observer: Observer) -> None:
    """By the median, since this host may be busy."""
    observer.begin("pathproof: selftest samples")
    time.sleep(1.2)
    times = [s.machine_ns for s in observer.collect().samples]
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    assert len(gaps) >= 8
    assert gaps[len(gaps) // 2] <= 100 * NS_PER_MS


def test_a_sample_tells_the_wall_clock_and_what_it_cost(observer: Observer) -> None:
    """A clock that jumps is seen by it, and the observer's share of a processor is known."""
    observer.begin("pathproof: selftest clocks")
    ahead_ns = time.time_ns() - time.monotonic_ns()
    time.sleep(1)
    samples = observer.collect().samples
    assert all(abs(s.wall_ahead_ns - ahead_ns) < 100 * NS_PER_MS for s in samples)
    spent_ns = samples[-1].cpu_ns - samples[0].cpu_ns
    assert 0 < spent_ns < (samples[-1].machine_ns - samples[0].machine_ns) / 2


@pytest.mark.skipif(not DISKS, reason=needs.BLOCK_DEVICE)
def test_a_sample_holds_what_is_watched(observer: Observer) -> None:
    """Disks and NICs that exist; others are passed over."""
    observer.watch(Watch(disks=(DISKS[0], "no-such-disk"), nics=("lo",)))
    sample = observer.wait_for(
        lambda s: bool(s.disks), what="a sample with a disk", deadline=Deadline.after(5)
    )
    assert list(sample.disks) == [DISKS[0]]
    assert sample.carriers == {"lo": True}
    assert sample.maps == {}
    assert sample.count_paths("active") == 0
    assert sample.map("no such map") == MapSample()


def test_a_cable_has_something_to_carry_with_each_sample(observer: Observer) -> None:
    """A cable that carries nothing else is then seen to stand still, too."""
    observer.watch(Watch(nics=("lo",), cables=("lo",)))
    observer.begin("pathproof: selftest beats")
    time.sleep(1.2)
    samples = [s.nics["lo"] for s in observer.collect().samples if s.nics.get("lo")]
    samples = [counts for counts in samples if counts.beats]
    beats = [counts.beats for counts in samples]
    assert beats == list(range(beats[0], beats[0] + len(beats)))
    assert len(beats) >= 8
    carried = samples[-1].frames_received - samples[0].frames_received
    assert carried >= len(beats) - 1
    assert samples[-1].frames_sent - samples[0].frames_sent >= len(beats) - 1
    assert samples[-1].dropped_receiving == samples[0].dropped_receiving


def test_an_observer_that_rests_takes_no_samples(observer: Observer) -> None:
    """Clock and kernel log go on. Afterwards samples come again."""
    observer.begin("pathproof: selftest rest")
    with observer.resting():
        observer.read_clock()  # answered after the order to rest
        before = len(observer.collect().samples)
        time.sleep(0.5)
        seen = observer.collect()
    assert len(seen.samples) == before
    assert seen.kernel_log.messages[-1].text.startswith("pathproof: collected")
    observer.wait_for(lambda _: True, what="a sample", deadline=Deadline.after(5))


def test_a_condition_is_met_by_a_sample_from_now_on(observer: Observer) -> None:
    """Not by an earlier one."""
    observer.begin("pathproof: selftest fresh")
    now_ns = time.monotonic_ns()
    sample = observer.wait_for(lambda _: True, what="a sample", deadline=Deadline.after(5))
    assert sample.machine_ns >= now_ns


def test_a_machine_of_which_only_links_are_watched_is_sampled_less_often(
    observer: Observer,
) -> None:
    """Each sample costs it processor time, and the kernel tells a change by itself."""
    observer.watch(Watch(nics=("lo",), at_least_per_s=5))
    observer.begin("pathproof: selftest seldom")
    time.sleep(2.5)
    first, *_, last = samples = observer.collect().samples
    assert last.machine_ns - first.machine_ns > 150 * NS_PER_MS * (len(samples) - 1)


def test_samples_travel_together_unless_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each print costs processor time on its way."""
    delays_ns: list[int] = []
    hear = Observer.hear

    def note(observer: Observer, line: bytes) -> None:
        hear(observer, line)
        if b'"sample"' in line:
            delays_ns.append(time.monotonic_ns() - json.loads(line)["sample"])

    def longest_delay_ns(observer: Observer) -> int:
        del delays_ns[:]
        time.sleep(1.5)
        return max(delays_ns)

    def usual_delay_ns_while_waiting(observer: Observer) -> float:
        del delays_ns[:]
        with pytest.raises(TimedOut):
            observer.wait_for(lambda _: False, what="never", deadline=Deadline.after(1.5))
        return statistics.median(delays_ns)

    monkeypatch.setattr(Observer, "hear", note)
    with observing(LocalMachine()) as observer:
        observer.watch(Watch(disks=("no-such-disk",)))
        time.sleep(0.5)
        assert longest_delay_ns(observer) > 300 * NS_PER_MS
        observer.read_clock()  # nothing is held back now
        assert usual_delay_ns_while_waiting(observer) < 300 * NS_PER_MS
        assert longest_delay_ns(observer) > 300 * NS_PER_MS


def test_a_condition_that_is_never_met_tells_what_was_seen(observer: Observer) -> None:
    """With the hint of whoever waited."""
    deadline = Deadline.after(0.5)
    with pytest.raises(TimedOut, match=r"a miracle: not within .*; last seen: Sample") as late:
        observer.wait_for(lambda _: False, what="a miracle", deadline=deadline, hint="pray")
    assert late.value.hint == "pray"


@pytest.mark.parametrize("already", [False, True])
def test_an_observer_that_dies_is_reported_with_its_last_words(*, already: bool) -> None:
    """Whoever waits for it does not wait out the deadline; also if it has died before."""
    with observing(LocalMachine()) as observer:
        process = observer._process
        assert process is not None
        process.send(b"no JSON\n")
        if already:
            poll(lambda: not process.running, what="its end", deadline=Deadline.after(20))
        started = time.monotonic()
        with pytest.raises(MachineError, match=r"(?s)the observer ended: .*JSONDecodeError"):
            observer.wait_for(lambda _: False, what="never", deadline=Deadline.after(20))
        assert time.monotonic() - started < 5
        with pytest.raises(HarnessError):
            observer.read_clock()


def test_what_an_observer_saw_before_it_died_is_kept() -> None:
    """With what became of it; the mark of the end is missing."""
    with observing(LocalMachine()) as observer:
        observer.watch(Watch(disks=("no-such-disk",)))
        observer.begin("pathproof: selftest dies")
        observer.wait_for(lambda _: True, what="a sample", deadline=Deadline.after(5))
        assert observer._process is not None
        observer._process.signal(signal.SIGKILL)
        seen = observer.collect()
    assert "the observer ended" in seen.died or "reads no input" in seen.died
    assert len(seen.samples) >= 1
    assert len(seen.clock.readings) == 1
    texts = [m.text for m in seen.kernel_log.messages]
    assert [mark in texts for mark in seen.marks] == [True, False]


def test_a_machine_that_stands_still_does_not_answer(observer: Observer) -> None:
    """The channel to it is still open."""
    assert observer._process is not None
    assert observer.answers(0.3)
    observer._process.signal(signal.SIGSTOP)
    time.sleep(0.3)
    assert not observer.answers(0.2)
    observer._process.signal(signal.SIGCONT)
    assert observer.answers(5)


def test_what_was_heard_of_the_kernel_log_is_there_without_asking(observer: Observer) -> None:
    observer.begin("pathproof: selftest heard")
    assert "pathproof: selftest heard" in observer.kernel_texts


def test_nothing_is_left_behind() -> None:
    """The program ends with its block."""
    with observing(LocalMachine()) as observer:
        process = observer._process
        assert process is not None
    assert not process.running


@pytest.mark.parametrize(
    "line", [b'{"sample": 1}', b'{"pong": 1}', b"123", b"null", b'"x"', b'{"kernel": [1]}', b"{"]
)
def test_a_line_that_says_nothing_is_a_record_lost(observer: Observer, line: bytes) -> None:
    """Whoever listens goes on listening."""
    observer.begin("pathproof: selftest garbled")
    observer.hear(line + b"\n")
    assert observer.collect().kernel_log.lost == 1
