"""How much processor time the host gives to guests: one that is not run measures the host.

The time that a thread is ready to run and waits for a processor is what KVM tells its guests as
steal time (record_steal_time in arch/x86/kvm/x86.c). /proc/PID/task/TID/schedstat has it for
emulated guests, too (Documentation/scheduler/sched-stats.rst).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import numpy as np

from harness.concurrency import beside
from harness.measurements import ProcessorTime

_INTERVAL_S = 0.2
# How QEMU's `debug-threads=on`, which libvirt asks for, names those that run guest code and those
# that do its I/O; the kernel's vhost threads belong to QEMU's process since 6.4.
_NAMES = ("CPU ", "IO iothread", "vhost-")


class StealWatch:
    """Samples the processor time of guests while it runs. Made by `watching_steal`."""

    def __init__(self, pids: Callable[[], Mapping[str, int | None]], proc: Path) -> None:
        self._pids = pids
        self._proc = proc
        self._files: dict[int, list[Path]] = {}  # by process
        self._machines: dict[Path, str] = {}
        self._threads: dict[Path, tuple[int, int]] = {}  # had and waited for, ns
        self._samples: list[tuple[int, dict[Path, tuple[int, int]]]] = []

    def look(self) -> None:
        """Take a sample. A thread that is gone counts with what it last had."""
        for machine, pid in self._pids().items():
            if pid is not None and pid not in self._files:
                self._files[pid] = list(_schedstats(self._proc / str(pid)))
                self._machines |= dict.fromkeys(self._files[pid], machine)
        for file in chain(*self._files.values()):
            with suppress(OSError, ValueError):  # it ended, or the kernel keeps no such figures
                ran, waited, _ = file.read_text().split()
                self._threads[file] = (int(ran), int(waited))
        if self._threads:
            self._samples.append((time.monotonic_ns(), dict(self._threads)))

    @property
    def seen(self) -> ProcessorTime | None:
        """What was seen so far; None where the guests run elsewhere, or the kernel keeps none."""
        if not self._samples:
            return None
        at_ns = np.array([at_ns for at_ns, _ in self._samples], dtype=np.int64)
        firsts: dict[Path, tuple[int, int]] = {}
        for _, threads in self._samples:
            firsts = threads | firsts
        totals = np.array(
            [
                [threads.get(thread, first) for thread, first in firsts.items()]
                for _, threads in self._samples
            ],
            dtype=np.int64,
        )
        machines = tuple(self._machines[thread] for thread in firsts)
        return ProcessorTime(at_ns, totals[:, :, 0], totals[:, :, 1], machines)


@contextmanager
def watching_steal(
    pids: Callable[[], Mapping[str, int | None]], proc: Path = Path("/proc")
) -> Iterator[StealWatch]:
    """Watch those processes of QEMU, by machine, for the length of the block."""
    watch = StealWatch(pids, proc)

    def run(over: threading.Event) -> None:
        watch.look()
        while not over.wait(_INTERVAL_S):
            watch.look()

    with beside(run, name="steal"):
        yield watch


def _schedstats(process: Path) -> Iterator[Path]:
    """The files of the threads that run guest code or its I/O, and of the main one for cables."""
    for thread in process.glob("task/*"):
        with suppress(OSError):  # it ended just now
            name = (thread / "comm").read_text()
            if name.startswith(_NAMES) or thread.name == process.name:
                yield thread / "schedstat"
