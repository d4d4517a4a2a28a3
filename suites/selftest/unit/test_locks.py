"""Locks between processes, with real processes that die."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import harness
from harness.deadline import Deadline, poll
from harness.errors import TimedOut
from harness.locks import (
    Mode,
    bound,
    has_record_lock,
    locked_file,
    locked_folder,
    make_locked,
    try_lock,
    try_locked_folder,
    try_name,
)

TOP = Path(harness.__file__).parent.parent
HOLD = """
import fcntl, sys
from pathlib import Path
from harness.locks import *
path = Path(sys.argv[1])
{acquire}
print("holds", flush=True)
sys.stdin.read()
"""
SHARED = "file = path.open('ab'); assert try_lock(file, Mode.SHARED)"
ALONE = "file = path.open('ab'); assert try_lock(file)"
WAITED = "file = path.open('ab'); wait_for_lock(file)"
A_FILE = "held = locked_file(path); held.__enter__()"
A_FOLDER = "held = locked_folder(path); held.__enter__()"
A_FOLDER_TRIED = "held = try_locked_folder(path); assert held.__enter__() is not None"
A_NAME = "held = try_name(path.name); assert held.__enter__()"
A_RECORD = "file = path.open('w+b'); fcntl.lockf(file, fcntl.LOCK_EX, 1)"


@contextmanager
def another(acquire: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lock until it is killed."""
    argv = [sys.executable, "-c", HOLD.format(acquire=acquire), str(path)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOP
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "holds\n"
            yield process
        finally:
            process.kill()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def waits(process: subprocess.Popen[str]) -> bool:
    """Whether it waits for a lock. A line of proc_locks(5): `1: -> FLOCK ADVISORY WRITE PID …`."""
    lines = map(str.split, Path("/proc/locks").read_text().splitlines())
    return any(words[1] == "->" and words[5] == str(process.pid) for words in lines)


@pytest.mark.parametrize("acquire", [ALONE, WAITED, A_FILE])
def test_a_lock_is_its_holders_alone_until_that_is_killed(tmp_path: Path, acquire: str) -> None:
    path = tmp_path / "lock"
    with another(acquire, path) as holder, path.open("rb") as file:
        assert not try_lock(file)
        assert not try_lock(file, Mode.SHARED)
        kill(holder)
        assert try_lock(file)


def test_many_share_a_lock_and_no_process_has_it_alone_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another(SHARED, path), path.open("rb") as file, path.open("rb") as same_process:
        assert not try_lock(file)
        assert try_lock(file, Mode.SHARED)
        assert not try_lock(same_process)


def test_a_lock_ends_with_the_last_descriptor_of_what_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("ab") as file, path.open("ab") as other:
        assert try_lock(file)
        copy = os.dup(file.fileno())
        file.close()
        assert not try_lock(other)
        os.close(copy)
        assert try_lock(other)


def test_a_child_holds_a_lock_only_if_it_is_given_the_descriptor(tmp_path: Path) -> None:
    def sleeper(*pass_fds: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "60"], pass_fds=pass_fds)

    def end(child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()

    for given in (False, True):
        with try_locked_folder(tmp_path) as descriptor:
            assert descriptor is not None
            child = sleeper(*([descriptor] if given else []))
        try:
            with try_locked_folder(tmp_path) as again:
                assert (again is None) is given
        finally:
            end(child)
    with try_locked_folder(tmp_path) as after:
        assert after is not None


@pytest.mark.parametrize("acquire", [A_FOLDER, A_FOLDER_TRIED])
def test_a_folder_is_locked_until_its_holder_is_killed(tmp_path: Path, acquire: str) -> None:
    with another(acquire, tmp_path) as holder:
        with try_locked_folder(tmp_path) as descriptor:
            assert descriptor is None
        kill(holder)
        with try_locked_folder(tmp_path) as descriptor:
            assert descriptor is not None


@pytest.mark.parametrize(
    ("held", "acquire"), [(locked_file, WAITED), (locked_file, A_FILE), (locked_folder, A_FOLDER)]
)
def test_who_wants_it_waits_until_the_block_ends(
    tmp_path: Path, held: Callable[[Path], AbstractContextManager[None]], acquire: str
) -> None:
    path = tmp_path if held is locked_folder else tmp_path / "lock"
    argv = [sys.executable, "-c", HOLD.format(acquire=acquire), str(path)]
    with held(path):
        waiting = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=TOP
        )
        try:
            poll(lambda: waits(waiting), what="it waits", deadline=Deadline.after(30))
        except TimedOut:
            waiting.kill()
            raise
    assert waiting.communicate(timeout=30)[0] == "holds\n"


def test_a_file_has_its_lock_and_its_mode_when_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []
    link = os.link

    def named(draft: str, path: Path) -> None:
        with Path(draft).open("rb") as file:
            seen.append((stat.S_IMODE(os.fstat(file.fileno()).st_mode), try_lock(file)))
        link(draft, path)

    monkeypatch.setattr(os, "link", named)
    path = tmp_path / "ticket"
    descriptor = make_locked(path, 0o640)
    try:
        assert seen == [(0o640, False)]
        with path.open("rb") as file:
            assert not try_lock(file)
        assert list(tmp_path.iterdir()) == [path]
    finally:
        os.close(descriptor)
    with path.open("rb") as file:
        assert try_lock(file)


def test_a_file_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "ticket"
    path.write_text("theirs")
    with pytest.raises(FileExistsError):
        make_locked(path, 0o600)
    assert [(one, one.read_text()) for one in tmp_path.iterdir()] == [(path, "theirs")]


def test_a_name_is_its_holders_alone_until_that_is_killed() -> None:
    name = f"test-{os.getpid()}"
    with another(A_NAME, Path(name)) as holder:
        with try_name(name) as mine:
            assert not mine
        with try_name(f"{name}/more") as mine:
            assert mine
        kill(holder)
        with try_name(name) as mine:
            assert mine
    with try_name(name) as mine:
        assert mine


def test_another_error_than_a_taken_address_is_raised() -> None:
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError, match="too long"):
        bound(one, "\0" + "x" * 200)


def test_a_record_lock_of_another_process_is_seen_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "driver.pid"
    assert not has_record_lock(path)
    with another(A_RECORD, path) as holder:
        assert has_record_lock(path)
        assert has_record_lock(path)  # looking takes nothing away
        kill(holder)
        assert not has_record_lock(path)


def test_a_record_lock_is_no_flock(tmp_path: Path) -> None:
    path = tmp_path / "driver.pid"
    with another(A_RECORD, path), path.open("rb") as file:
        assert try_lock(file)
