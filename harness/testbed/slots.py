"""How many testbeds this machine runs at once, whoever asks for them.

    PATHPROOF_STATE/.slots/N      flock'd by the process whose testbed takes this place
    PATHPROOF_STATE/.slots/next   flock'd by the one whose turn it is when a place is free

The kernel frees a place when its process dies. Those that wait come first come, first served:
a worker that goes from one test to the next does not overtake them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.config import Config
from harness.config.sizes import sized_for
from harness.deadline import Deadline, poll
from harness.hypervisor.accel import expected
from harness.hypervisor.domain_xml import TRANSLATIONS
from harness.steps import Spent, progress, step
from harness.testbed.folder import SLOTS, base, cache_folder
from harness.topology import plan
from harness.units import MIB, format_size

# QEMU's own beside the guest's memory: 60 to 90 MiB were seen, without what emulation keeps.
_OVERHEAD = {"kvm": 128 * MIB, "tcg": 128 * MIB + TRANSLATIONS}
_SHARE = 0.8  # of the memory; the rest is for the host
_PATIENCE_S = 24 * 3600.0
_NEXT = "next"


@dataclass(frozen=True)
class Limit:
    """At most so many testbeds at once, and why."""

    testbeds: int
    reason: str

    def __str__(self) -> str:
        return f"{self.testbeds} at once ({self.reason})"


def limit_for(config: Config, accel: Literal["kvm", "tcg"] | None = None) -> Limit:
    """The limit of this machine: as configured, or as many as it has cores and memory for.

    A core for each processor of the guests: one that has to wait stalls I/O by itself. Without
    `accel`, guests run as is to be expected here.
    """
    if not config.target.is_ours:
        return Limit(1, "two runs on one LUN would spoil each other's data")
    if config.hypervisor.testbeds != "auto":
        return Limit(config.hypervisor.testbeds, "hypervisor.testbeds")
    accel = accel or expected(config.hypervisor.accel, cache_folder())
    machines = sized_for(config, accel).machines
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    guests = len(plan(config).guests)
    processors = guests * machines.cpus
    fit = int(_SHARE * memory / (guests * (machines.memory + _OVERHEAD[accel])))
    reason = (
        f"{cores} cores, {processors} for each; "
        f"{format_size(memory)} of memory are enough for {fit}"
    )
    return Limit(max(1, min(cores // processors, fit)), reason)


@contextmanager
def slot(limit: Limit) -> Iterator[None]:
    """Wait until one of the places is free, and hold it for the length of the block."""
    folder = base() / SLOTS
    folder.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as held:
        with ExitStack() as turn:
            if not (_flocked(folder / _NEXT, turn) and _taken(folder, limit, held)):
                _wait(folder, limit, turn, held)
        yield


def _wait(folder: Path, limit: Limit, turn: ExitStack, held: ExitStack) -> None:
    with step("Wait for a place for one more testbed", Spent.TURN):
        progress(f"{limit}")
        turn.close()
        _flocked(folder / _NEXT, turn, wait=True)
        poll(
            lambda: _taken(folder, limit, held),
            what="a place for one more testbed",
            deadline=Deadline.after(_PATIENCE_S),
            every_s=0.1,
        )


def _taken(folder: Path, limit: Limit, held: ExitStack) -> bool:
    """Whether one of the places is ours now."""
    return any(_flocked(folder / str(number), held) for number in range(limit.testbeds))


def _flocked(path: Path, held: ExitStack, *, wait: bool = False) -> bool:
    """Whether the lock is ours now, until `held` ends. The kernel lets in who waits longest."""
    with ExitStack() as attempt:
        lock = attempt.enter_context(path.open("ab"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        held.enter_context(attempt.pop_all())
    return True
