"""Folders named by what determines their content, shared by processes and kept within a limit.

    KIND/KEY/              an entry; it appears whole or not at all, also if the power fails
    KIND/KEY/about.txt     what it is, in one line, for people
    KIND/KEY/needs         KIND/KEY of each entry without which it is worth nothing, one a line
    building/KIND/KEY-*/   not yet, or no longer, an entry
    locks/KIND/KEY         flock'd: shared by its users, exclusively by who makes or removes it

The kernel releases a lock when its holder dies, so a killed process leaves at most a folder in
`building`, whose lock is free: no process works there. The files in `locks` are empty and stay:
their time says when an entry was last used.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from harness.errors import ConfigError
from harness.locks import Mode, try_lock
from harness.steps import progress
from harness.units import GIB, parse_size

LIMIT = 20 * GIB
LIMIT_VARIABLE = "PATHPROOF_CACHE_LIMIT"

Kind = Literal["images", "snapshots"]

_POLL_S = 0.2

Pause = Callable[[float], object]


def discard(folder: Path) -> None:
    """Remove `folder`, as far as it exists."""
    shutil.rmtree(folder, ignore_errors=True)


class Store:
    """The entries of one kind in the cache at `base`, which only this user may read.

    `discard` removes a folder that was being made, and whatever else belongs to it.
    """

    def __init__(
        self, base: Path, kind: Kind, *, discard: Callable[[Path], None] = discard
    ) -> None:
        self.base = base
        self.kind = kind
        self._discard = discard

    def path(self, key: str) -> Path:
        """Where the entry is, if it is there."""
        return self.base / self.kind / key

    @contextmanager
    def using(self, key: str, *, pause: Pause = time.sleep) -> Iterator[Path | None]:
        """The entry, safe from removal until the block ends; None if it is not there.

        A user of an entry that needs others uses those, too, for as long.
        """
        path = self.path(key)
        with ExitStack() as held:
            if path.is_dir():
                lock = held.enter_context(self._lock_file(key))
                self._wait_to_use(lock, key, pause)
                os.utime(lock.fileno())
            if not path.is_dir():  # perhaps no longer
                held.close()
                yield None
            else:
                yield path

    @contextmanager
    def making(
        self, key: str, whole: Callable[[Path], object], *, pause: Pause = time.sleep
    ) -> Iterator[Path | None]:
        """An empty folder that becomes the entry when the block ends, or is removed if it fails.

        None if the entry is there and `whole` when no other process makes it any more. One that
        is not whole is replaced when no process uses it, and entries that need it are removed.
        While this waits, it calls `pause` with seconds to sleep; what that raises ends the
        waiting. Raises ConfigError if the cache is unusable.
        """
        path = self.path(key)
        with self._lock_file(key) as lock:
            if not self._to_be_made(lock, key, whole, pause):
                yield None
                return
            self.remove_drafts(own=key)
            draft = self._draft(key)
            try:
                yield draft
                _sync(draft)
                for stale in _needing(entries(self.base), f"{self.kind}/{key}"):
                    _store_of(self.base, stale).remove(stale.key, though_open=True)
                if path.exists():
                    path.rename(self._draft(key))
                draft.rename(self._folder(self.kind) / key)
                _sync_folder(path.parent)
                os.utime(lock.fileno())
            finally:
                self.remove_drafts(own=key)

    def remove(self, key: str, *, though_open: bool = False) -> bool:
        """Remove the entry; False if somebody makes or uses it.

        `though_open` counts only those who hold its lock: a machine that was kept goes on
        reading files that were removed.
        """
        with self._lock_file(key) as lock:
            if not try_lock(lock):
                return False
            if _is_open(self.path(key)) and not though_open:
                return False
            with suppress(FileNotFoundError):
                self.path(key).rename(self._draft(key))
            self.remove_drafts(own=key)
            return True

    def remove_drafts(self, *, own: str | None = None) -> list[Path]:
        """Remove the folders in which no process works, and those of `own`, whose lock we hold.

        Returns those it removed.
        """
        removed = []
        for draft in (self.base / "building" / self.kind).glob("*"):
            key = draft.name.rpartition("-")[0]
            with self._lock_file(key) as lock:
                if key == own or try_lock(lock):
                    self._discard(draft)
                    removed.append(draft)
        return removed

    def is_used(self, key: str) -> bool:
        """Whether somebody makes or uses the entry, or has a file of it open."""
        with self._lock_file(key) as lock:
            return not try_lock(lock) or _is_open(self.path(key))

    def _draft(self, key: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{key}-", dir=self._folder("building", self.kind)))

    def _lock_file(self, key: str) -> BinaryIO:
        return (self._folder("locks", self.kind) / key).open("ab")

    def _folder(self, *names: str) -> Path:
        private_folder(self.base)
        return private_folder(self.base.joinpath(*names))

    def _to_be_made(
        self, lock: BinaryIO, key: str, whole: Callable[[Path], object], pause: Pause
    ) -> bool:
        """Whether this process alone has the lock, and the entry is not complete.

        Those who wait must see that it is complete while its maker goes on using it.
        """
        path = self.path(key)
        judged = None
        for attempt in itertools.count():
            if try_lock(lock, Mode.SHARED) and (seen := _inode(path)) != judged:
                if whole(path):  # which may take long
                    return False
                judged = seen
            if try_lock(lock):
                return not whole(path)
            self._wait(attempt, key, pause)
        raise AssertionError("unreachable")

    def _wait_to_use(self, lock: BinaryIO, key: str, pause: Pause) -> None:
        for attempt in itertools.count():
            if try_lock(lock, Mode.SHARED):
                return
            self._wait(attempt, key, pause)

    def _wait(self, attempt: int, key: str, pause: Pause) -> None:
        if attempt == 1:  # a mere look at the lock is over by then
            progress(f"another process makes or uses {self.kind}/{key}; waiting for it")
        pause(_POLL_S)


@dataclass(frozen=True)
class Entry:
    """One folder of the cache. Times are those of time.time(), `size_bytes` is what it occupies."""

    kind: Kind
    key: str
    path: Path
    about: str
    needs: frozenset[str]
    size_bytes: int
    made_at: float
    used_at: float

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.key}"

    @property
    def in_use(self) -> bool:
        """Whether a process makes or uses it at this moment."""
        return _store_of(self.path.parent.parent, self).is_used(self.key)


def entries(base: Path) -> list[Entry]:
    """Everything in the cache at `base`, the least recently used first."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    found = []
    for kind in kinds:
        for path in (base / kind).glob("*"):
            with suppress(FileNotFoundError):  # removed meanwhile
                found.append(_entry(base, kind, path))
    # What needs others comes before them, also if all were used at the same time.
    return sorted(found, key=lambda entry: (entry.used_at, not entry.needs, entry.name))


def prune(base: Path, limit_bytes: int) -> list[Entry]:
    """Remove entries until the others occupy `limit_bytes` at most; returns those removed.

    The least recently used go first, each after those that need it. What somebody uses stays,
    even if the limit is then exceeded.
    """
    left = entries(base)
    removed: list[Entry] = []
    for entry in tuple(left):
        if sum(one.size_bytes for one in left) <= limit_bytes:
            break
        for one in [*_needing(left, entry.name), entry]:
            if one in left:
                if not _store_of(base, one).remove(one.key):
                    break
                left.remove(one)
                removed.append(one)
    return removed


def size_limit() -> int:
    """How many bytes the cache may occupy, as the environment says or by default."""
    text = os.environ.get(LIMIT_VARIABLE)
    try:
        return parse_size(text) if text else LIMIT
    except ValueError as error:
        raise ConfigError(f"{LIMIT_VARIABLE}: {error}") from None


def private_folder(folder: Path) -> Path:
    """`folder`, made if it is missing, and closed to other users. Raises ConfigError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable")
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"cache {folder}: {error.strerror}",
            hint="choose a folder of your own, or give this one to your user",
        ) from None
    return folder


def _entry(base: Path, kind: Kind, path: Path) -> Entry:
    made_at = path.stat().st_mtime
    lock = base / "locks" / kind / path.name
    return Entry(
        kind=kind,
        key=path.name,
        path=path,
        about=next(iter(_lines(path / "about.txt")), ""),
        needs=frozenset(_lines(path / "needs")),
        size_bytes=sum(file.lstat().st_blocks * 512 for file in (path, *path.rglob("*"))),
        made_at=made_at,
        used_at=lock.stat().st_mtime if lock.exists() else made_at,
    )


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines() if file.exists() else []


def _needing(among: list[Entry], name: str) -> list[Entry]:
    """The entries that need `name`, also through others, each after those that need it."""
    found = []
    for entry in among:
        if name in entry.needs:
            found += [*_needing(among, entry.name), entry]
    return found


def _store_of(base: Path, entry: Entry) -> Store:
    return Store(base, entry.kind)


def _inode(path: Path) -> int:
    """What changes when a folder is replaced; 0 if there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _is_open(folder: Path) -> bool:
    """Whether a process of this user has a file below `folder` open.

    A machine that was kept has no owner who could hold a lock, and still reads its image.
    """
    below = f"{folder.resolve()}/"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or somebody else's
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()).startswith(below):
                        return True
    return False


def _sync(folder: Path) -> None:
    """Write every file below `folder` through to the disk."""
    for file in (*folder.rglob("*"), folder):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        elif file.is_dir():
            _sync_folder(file)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
