"""The programs that damage blocks for the suite of planted defects, on a file of this host."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.machine import LocalMachine
from harness.testbed import Testbed
from harness.units import KIB
from harness.workload import Area
from harness.workload.reader import inspect
from suites.selftest.defects import damage as module
from suites.selftest.defects.damage import damage, late_writes

BLOCK = 4 * KIB
COUNT = 8
AREA = Area(BLOCK, COUNT * BLOCK)
FRESH = (2, 5)  # written while the program looks on
SOON_S, WAIT_S = 0.6, 1.0  # the program has looked once by then, and looks again


def written(number: int, generation: int) -> bytes:
    """As fio begins a block, and with a body of its own."""
    return b"\xca\xac" + bytes([number, generation]) * (BLOCK // 2 - 1)


class Disk:
    """A file with blocks that were all written once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = b"".join(written(n, 1) for n in range(COUNT))
        path.write_bytes(bytes(AREA.offset) + content + bytes(BLOCK))

    def blocks(self) -> list[bytes]:
        with self.path.open("rb") as file:
            return [os.pread(file.fileno(), BLOCK, AREA.offset + n * BLOCK) for n in range(COUNT)]

    def write(self, numbers: Sequence[int], generation: int) -> None:
        with self.path.open("r+b") as file:
            for n in numbers:
                os.pwrite(file.fileno(), written(n, generation), AREA.offset + n * BLOCK)

    @contextmanager
    def written_meanwhile(self, *times: tuple[float, Sequence[int], int]) -> Iterator[None]:
        """Write blocks after so many seconds each, beside the block."""

        def work() -> None:
            for after_s, numbers, generation in times:
                time.sleep(after_s)
                self.write(numbers, generation)

        worker = threading.Thread(target=work)
        worker.start()
        yield
        worker.join()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "disk")


@pytest.fixture
def testbed(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Testbed:
    """As much of one as the programs are told of; its target is this host."""
    monkeypatch.setattr(module, "storage_path", lambda *_: str(disk.path))
    monkeypatch.setattr(module, "_REST_S", 0.1)
    made = SimpleNamespace(
        config=SimpleNamespace(target=None, workload=SimpleNamespace(block_size=BLOCK)),
        topology=SimpleNamespace(luns=[None]),
        machine=lambda _: LocalMachine(),
    )
    return cast(Testbed, cast(Any, made))


def offsets(*numbers: int) -> list[int]:
    return [AREA.offset + n * BLOCK for n in numbers]


def changed(disk: Disk, generation: int = 1) -> list[int]:
    """The numbers of the blocks that are not what they were when they were written then."""
    return [n for n, block in enumerate(disk.blocks()) if block != written(n, generation)]


@pytest.mark.parametrize(
    ("kind", "found"), [("tear", None), ("blank", "blank"), ("noise", "foreign")]
)
def test_a_block_that_was_just_written_is_wrong_until_it_is_mended(
    testbed: Testbed, disk: Disk, kind: str, found: str | None
) -> None:
    """Others stay as they are; a torn one begins as it was written, and ends as it was before."""
    seen: list[list[bytes]] = []
    with disk.written_meanwhile((SOON_S, FRESH, 2)):
        looker = threading.Timer(WAIT_S + 0.6, lambda: seen.append(disk.blocks()))
        looker.start()
        hit = damage(testbed, kind, AREA, wait_s=WAIT_S, mend_s=1, blocks=1)
        looker.join()
    (number, *_) = FRESH
    assert hit == offsets(number)
    ((*blocks,),) = seen
    others = [n for n in range(COUNT) if n != number]
    assert all(blocks[n] == written(n, 2 if n in FRESH else 1) for n in others)
    if found is None:
        half = BLOCK // 2
        assert blocks[number] == written(number, 2)[:half] + written(number, 1)[half:]
    else:
        assert inspect(blocks[number], offsets(number)[0])[0] == found
    assert changed(disk) == [*FRESH]
    assert disk.blocks()[number] == written(number, 2)


def test_what_was_written_meanwhile_is_not_mended(testbed: Testbed, disk: Disk) -> None:
    """Nor does it count: it was right before its time was over."""
    with disk.written_meanwhile((SOON_S, FRESH, 2), (WAIT_S, FRESH[:1], 3)):
        hit = damage(testbed, "blank", AREA, wait_s=WAIT_S, mend_s=1)
    assert hit == offsets(FRESH[1])
    assert disk.blocks()[FRESH[0]] == written(FRESH[0], 3)
    assert disk.blocks()[FRESH[1]] == written(FRESH[1], 2)


def test_cold_blocks_stay_damaged(testbed: Testbed, disk: Disk) -> None:
    """As many as were asked for; the end of a torn one is zero, as nothing else was there."""
    assert damage(testbed, "tear", AREA, blocks=2, cold=True) == offsets(0, 1)
    assert changed(disk) == [0, 1]
    assert disk.blocks()[1] == written(1, 1)[: BLOCK // 2] + bytes(BLOCK // 2)


def test_where_nothing_was_written_any_block_is_cold(testbed: Testbed, disk: Disk) -> None:
    blank = Area(0, BLOCK)
    assert damage(testbed, "noise", blank, blocks=1, cold=True) == [0]
    assert disk.path.read_bytes()[:BLOCK] != bytes(BLOCK)
    assert changed(disk) == []


def test_blocks_that_change_places(testbed: Testbed, disk: Disk) -> None:
    """Or one of which is written to another."""
    half = COUNT // 2
    assert damage(testbed, "misdirect", AREA) == offsets(half)
    assert disk.blocks()[half] == written(0, 1)
    disk.write([half], 2)
    assert damage(testbed, "swap", AREA) == offsets(0, half)
    assert disk.blocks()[half] == written(0, 1)
    assert disk.blocks()[0] == written(half, 2)


@pytest.mark.parametrize("kind", ["lose", "replay"])
def test_writes_that_are_undone(testbed: Testbed, disk: Disk, kind: str) -> None:
    with disk.written_meanwhile((SOON_S, FRESH, 2)):
        assert damage(testbed, kind, AREA, wait_s=WAIT_S, blocks=2) == offsets(*FRESH)
    assert changed(disk) == []


def test_writes_that_come_late(testbed: Testbed, disk: Disk) -> None:
    """What was there at the first line is there again some time after the second."""
    said: list[bytes] = []
    with LocalMachine().background(
        late_writes(testbed, AREA, late_s=0.3), on_line=said.append
    ) as late:
        late.send(b"\n")
        time.sleep(0.3)
        disk.write(FRESH, 2)
        late.send(b"\n")
        assert changed(disk) == [*FRESH]
        late.wait(timeout_s=30)
    assert json.loads(said[0]) == offsets(*FRESH)
    assert changed(disk) == []
