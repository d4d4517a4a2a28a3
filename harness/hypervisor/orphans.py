"""Be a parent to QEMU, which leaves its own behind when it goes into the background.

The kernel gives orphans to process 1, and a guest counts as alive until that has waited for
it. In a container process 1 is often a program that looks once in a second or two, or never:
then libvirt took 1.4 s to end a guest, and 0.2 s with this. Source: prctl(2),
PR_SET_CHILD_SUBREAPER.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h
_LOOK_INTERVAL_S = 0.02


def adopt() -> None:
    """From now on this process inherits the orphans among its descendants."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextmanager
def expected(pid_file: Path) -> Iterator[None]:
    """Take note of the end of the orphan that writes `pid_file` in this block, whenever it comes.

    Also if that is within the block: libvirt waits there for a guest that failed to start.
    """
    begun = threading.Event()
    name = f"wait for {pid_file.name}"
    threading.Thread(target=_wait, args=(pid_file, begun), name=name, daemon=True).start()
    try:
        yield
    finally:
        begun.set()


def _wait(pid_file: Path, begun: threading.Event) -> None:
    while True:
        last_look = begun.is_set()
        # It is not ours before the process that started it has ended.
        with suppress(OSError, ValueError):
            os.waitpid(int(pid_file.read_text()), 0)
            return
        if last_look:
            return
        begun.wait(_LOOK_INTERVAL_S)
