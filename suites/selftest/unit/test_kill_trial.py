"""What a killed run left is seen, whatever it is, and the kept testbed is not taken for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from suites.selftest.crash.kill_trial import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path, "kept-1")
    for name in ("kept-1", "dead-1", ".slots"):
        (place.state / name).mkdir(parents=True)
    place.cache.mkdir(parents=True)
    return place


def test_what_is_left_is_seen(place: Place) -> None:
    """A process, a lock, a socket, an overlay, a draft; none of them the kept testbed's."""
    (place.cache / "building/images/k-x").mkdir(parents=True)
    for name in ("kept-1", "dead-1"):
        (place.state / name / "disk.qcow2").touch()
    script = """
import fcntl, socket, sys
def hold(folder, number):
    lock = open(f"{folder}/lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    file, name = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    file.bind(f"{folder}/socket")
    name.bind(f"\\0pathproof/port/{number}")
    return lock, file, name
held = hold(sys.argv[1], sys.argv[2])
print("begun", flush=True)
sys.stdin.read()
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, f"{place.state}/{name}", f"test-{name}", *more],
            env=place.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name, *more in (("kept-1", f"{place.state}/kept-1/"), ("dead-1",))
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        left = place.left()
    finally:
        for process in processes:
            process.communicate()
    assert left.qemus == []
    assert [line.split()[0] for line in left.processes] == [str(processes[1].pid)]
    assert left.locks == [f"{place.state}/dead-1/lock"]
    sockets = {f"{place.state}/dead-1/socket", "@pathproof/port/test-dead-1"}
    assert set(left.sockets) == sockets
    assert left.overlays == [f"{place.state}/dead-1/disk.qcow2"]
    assert left.folders == ["dead-1"]
    assert left.drafts == [f"{place.cache}/building/images/k-x"]
    assert left


def test_an_empty_place_has_nothing_left(place: Place) -> None:
    (place.state / "dead-1").rmdir()
    assert not place.left()
    assert str(place.left()) == "nothing"
