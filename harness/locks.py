"""Locks between the processes of this host. The kernel frees each one when its holder dies.

A lock by flock(2), of a file or folder, belongs to what open(2) made: it ends when the last
descriptor of that is closed. A child that is given one holds the lock, too; by default Python gives
none. A name of an abstract socket (unix(7)) needs no file and is the same for all users. A record
lock (fcntl_locking(2)) belongs to a process; only libvirt takes those.

This file tells no one whom it waits for: the callers know that.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Protocol


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


class Mode(IntEnum):
    """Shared by many, or held by one alone."""

    SHARED = fcntl.LOCK_SH
    ALONE = fcntl.LOCK_EX


def try_lock(opened: int | _HasDescriptor, mode: Mode = Mode.ALONE) -> bool:
    """Whether the lock of an open file or folder is held now; it is, until that is closed.

    Never waits. Asking again in another mode is no atomic change: it may lose the first lock.
    """
    try:
        fcntl.flock(opened, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(opened: int | _HasDescriptor, mode: Mode = Mode.ALONE) -> None:
    """Have the lock of an open file or folder until that is closed; waits without a limit.

    For what others hold for moments only.
    """
    fcntl.flock(opened, mode)


@contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Hold the lock of a file for the length of the block; it is made if missing, and stays."""
    with path.open("ab") as file:
        wait_for_lock(file)
        yield


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is there, for the length of the block."""
    descriptor = _open_folder(path)
    try:
        wait_for_lock(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def try_locked_folder(path: Path) -> Iterator[int | None]:
    """Lock a folder as `locked_folder` does, without waiting; None if another process has the lock.

    Yields a descriptor: children that it is given to hold the lock, too.
    """
    descriptor = _open_folder(path)
    try:
        yield descriptor if try_lock(descriptor) else None
    finally:
        os.close(descriptor)


def make_locked(path: Path, mode: int) -> int:
    """A new file, which has its lock and its `mode` (chmod(2)) before it has its name.

    Returns the descriptor that holds the lock. So a file that is not locked belongs to a process
    that died, whatever its age. Raises FileExistsError if there is one.
    """
    descriptor, draft = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    with ExitStack() as failed:
        failed.callback(os.close, descriptor)
        try:
            os.fchmod(descriptor, mode)
            wait_for_lock(descriptor)
            os.link(draft, path)
        finally:
            Path(draft).unlink()
        failed.pop_all()
    return descriptor


@contextmanager
def try_name(name: str) -> Iterator[bool]:
    """Hold a name of this network namespace for the length of the block; False if it is taken.

    One process of all users can have it.
    """
    with socket.socket(socket.AF_UNIX) as holder:
        yield bound(holder, f"\0pathproof/{name}")


def bound(unbound: socket.socket, address: str | tuple[str, int]) -> bool:
    """Whether the socket has the address now; False if another one has it."""
    try:
        unbound.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    return True


def has_record_lock(path: Path) -> bool:
    """Whether another process has a record lock on the first byte; False if there is no file.

    Not for files that this process has record locks on: it would lose them.
    """
    try:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _open_folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
