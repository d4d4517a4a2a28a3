"""How much processor time the host gives to guests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from harness.measurements import ProcessorTime
from harness.observe import StealWatch, watching_steal
from harness.units import NS_PER_S

# A guest that never rests, on one core, in a thread named as QEMU names its own.
SPIN = """
import ctypes, os, sys, threading, time
os.sched_setaffinity(0, {int(sys.argv[1])})
def run():
    ctypes.CDLL(None).prctl(15, b"CPU 0/TCG")  # PR_SET_NAME
    print("spins", flush=True)
    while True:
        pass
threading.Thread(target=run, daemon=True).start()
time.sleep(60)
"""


def test_two_guests_on_one_core_lack_half_of_it() -> None:
    """The kernel's own figures, of real threads."""
    argv = [sys.executable, "-c", SPIN, str(min(os.sched_getaffinity(0)))]
    with ExitStack() as running:
        guests = []
        for _ in range(2):
            guest = running.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
            running.callback(guest.kill)
            assert guest.stdout is not None
            assert guest.stdout.readline() == "spins\n"
            guests.append(guest.pid)
        with watching_steal(lambda: dict(zip("ab", guests, strict=True))) as both:
            time.sleep(1.5)
    assert both.seen is not None
    steal = both.seen.steal(int(both.seen.at_ns[0]), int(both.seen.at_ns[-1]))
    assert 0.35 < steal < 0.95  # more than a half if others want that core, too


def test_threads_that_do_a_guests_io_count_as_those_that_run_it(tmp_path: Path) -> None:
    """By QEMU's own names for them; its other threads do not count."""
    names = {"8": "qemu-system-x86", "9": "CPU 0/KVM", "10": "IO iothread1", "11": "vhost-8"}
    for number, name in {**names, "12": "worker", "13": "IO mon_iothread"}.items():
        thread = tmp_path / "8/task" / number
        thread.mkdir(parents=True)
        (thread / "comm").write_text(f"{name}\n")
        (thread / "schedstat").write_text("1 2 3\n")
    with watching_steal(lambda: {"a": 8}, tmp_path) as watch:
        pass
    assert watch.seen is not None
    assert len(watch.seen.machines) == len(names)


def test_what_cannot_be_seen_is_not_made_up(tmp_path: Path) -> None:
    """A guest that runs elsewhere, one that has ended, a kernel that keeps no figures."""
    thread = tmp_path / "8/task/8"
    thread.mkdir(parents=True)
    (thread / "comm").write_text("qemu-system-x86\n")
    for pid in (None, 7, 8):
        with watching_steal(lambda pid=pid: {"a": pid}, tmp_path) as watch:  # type: ignore[misc]
            pass
        assert watch.seen is None


def test_only_guests_and_their_main_thread_count(tmp_path: Path) -> None:
    """Not the threads that QEMU starts and ends for its disks; one that is gone keeps its time."""
    for tid, name, schedstat in (
        (8, "qemu-system-x86", "10 1 5"),
        (9, "CPU 0/TCG", "100 50 5"),
        (10, "worker", "1000 1000 5"),
    ):
        thread = tmp_path / f"8/task/{tid}"
        thread.mkdir(parents=True)
        (thread / "comm").write_text(f"{name}\n")
        (thread / "schedstat").write_text(f"{schedstat}\n")
    watch = StealWatch(lambda: {"a": 8}, tmp_path)
    watch.look()
    (tmp_path / "8/task/9/schedstat").unlink()
    (tmp_path / "8/task/8/schedstat").write_text("20 2 5\n")
    watch.look()
    assert watch.seen is not None
    assert sorted(watch.seen.ran_ns[0]) == [10, 100]
    assert sorted(watch.seen.waited_ns[0]) == [1, 50]
    assert sorted(watch.seen.ran_ns[-1]) == [20, 100]
    assert sorted(watch.seen.waited_ns[-1]) == [2, 50]


def test_a_thread_that_comes_later_had_nothing_taken_before(tmp_path: Path) -> None:
    """A QEMU is seen from when it has a process; its threads have run for some time by then."""
    for pid in (8, 9):
        thread = tmp_path / f"{pid}/task/{pid}"
        thread.mkdir(parents=True)
        (thread / "comm").write_text("qemu-system-x86\n")
        (thread / "schedstat").write_text(f"{pid}00 {pid}0 5\n")
    pids: dict[str, int | None] = {"a": 8, "b": None}
    watch = StealWatch(lambda: pids, tmp_path)
    watch.look()
    pids["b"] = 9
    watch.look()
    assert watch.seen is not None
    assert watch.seen.waited_ns.tolist() == [[80, 90], [80, 90]]
    assert watch.seen.machines == ("a", "b")


def test_steal_is_the_share_that_was_not_given() -> None:
    """Between samples it is taken to grow evenly; before the first and after the last, not."""
    at_ns = np.array([0, 10, 20], dtype=np.int64) * NS_PER_S
    ran_ns = np.array([[0], [10], [11]], dtype=np.int64) * NS_PER_S
    waited_ns = np.array([[0], [0], [9]], dtype=np.int64) * NS_PER_S
    host = ProcessorTime(at_ns, ran_ns, waited_ns, ("a",))
    assert host.steal(0, 10 * NS_PER_S) == 0
    assert host.steal(10 * NS_PER_S, 20 * NS_PER_S) == pytest.approx(0.9)
    assert host.waited_between(5 * NS_PER_S, 15 * NS_PER_S) == pytest.approx(4.5 * NS_PER_S)
    assert host.steal(30 * NS_PER_S, 40 * NS_PER_S) == 0


def test_threads_that_wait_at_once_cost_no_more_than_one() -> None:
    """Ten of them for six seconds of eight: six, of which two seconds can hold two."""
    at_ns = np.array([0, 8], dtype=np.int64) * NS_PER_S
    ran_ns = np.array([[0] * 10, [2] * 10], dtype=np.int64) * NS_PER_S
    waited_ns = np.array([[0] * 10, [6] * 10], dtype=np.int64) * NS_PER_S
    host = ProcessorTime(at_ns, ran_ns, waited_ns, ("a",) * 10)
    assert host.waited_between(0, 8 * NS_PER_S) == 6 * NS_PER_S
    assert host.steal(0, 8 * NS_PER_S) == pytest.approx(0.75)
    late = ProcessorTime(
        at_ns, ran_ns, 2 * waited_ns, host.machines
    )  # counted late, at the end of a wait
    assert late.waited_between(0, 2 * NS_PER_S) == 2 * NS_PER_S
