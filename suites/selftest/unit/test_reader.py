"""The reader as the program that it is, on a file really written by fio and then damaged."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.workload.reader
from harness.measurements import BlockFinding, CompletionLog, ReadBack
from harness.units import KIB, NS_PER_MS
from harness.workload import Area, Job, JobKind, compare
from harness.workload.ledger import FoundBlock, acknowledged, parse_found
from harness.workload.reader import CHUNK, stretches
from suites.selftest.unit.fio_on_this_host import folder_for_direct_io, run_fio

PROGRAM = Path(harness.workload.reader.__file__)
BLOCK = 16 * KIB
COUNT = 96  # more than one read of the reader's
AREA = Area(64 * KIB, COUNT * BLOCK)
FILL = Job("fill", JobKind.WRITE, AREA, BLOCK, 4, verified=True)
VICTIM, OTHER = AREA.offset + 7 * BLOCK, AREA.offset + 80 * BLOCK


@dataclass(frozen=True)
class Written:
    """A file that fio wrote twice: its content after both passes, and the log of the second."""

    device: Path
    older: bytes
    newer: bytes
    log: CompletionLog


@pytest.fixture(scope="module")
def twice() -> Iterator[Written]:
    with folder_for_direct_io() as folder:
        device = folder / "disk"
        run_fio(device, FILL)
        older = device.read_bytes()
        time.sleep(0.7)  # as long as one run is at least before the next
        outcome = run_fio(device, replace(FILL, kind=JobKind.RANDOM_WRITE, seed=5))
        yield Written(device, older, device.read_bytes(), outcome.logs[0])


@pytest.fixture
def written(twice: Written) -> Written:
    """Undamaged at the beginning of each test."""
    twice.device.write_bytes(twice.newer)
    return twice


def read(device: Path, offsets: Sequence[int], block_size: int = BLOCK) -> dict[int, FoundBlock]:
    """Exactly as on a guest: isolated, without site-packages, offsets on standard input."""
    argv = [sys.executable, "-I", "-S", "-c", PROGRAM.read_text(), str(device), str(block_size)]
    text = "".join(f"{offset}\n" for offset in offsets)
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=True)
    return parse_found(done.stdout)


def read_back(written: Written) -> ReadBack:
    return compare(written.log, read(written.device, list(acknowledged(written.log))))


def put(device: Path, offset: int, data: bytes) -> None:
    with device.open("r+b") as disk:
        disk.seek(offset)
        disk.write(data)


def block(content: bytes, offset: int) -> bytes:
    return content[offset : offset + BLOCK]


def test_nothing_is_found_where_nothing_is_wrong(written: Written) -> None:
    """Every block that fio wrote is there."""
    assert read_back(written) == ReadBack(COUNT, COUNT, ())


@pytest.mark.parametrize("where", [100, BLOCK // 2, BLOCK - 1])
def test_a_flipped_bit_is_torn(written: Written, where: int) -> None:
    """Wherever in the data."""
    byte = written.newer[VICTIM + where]
    put(written.device, VICTIM + where, bytes([byte ^ 1]))
    assert read_back(written).findings == (BlockFinding(VICTIM, "torn"),)


def test_half_a_block_of_the_older_pass_is_torn(written: Written) -> None:
    """A write that was acknowledged and only half done."""
    half = BLOCK // 2
    put(written.device, VICTIM + half, block(written.older, VICTIM)[half:])
    assert read_back(written).findings == (BlockFinding(VICTIM, "torn"),)


def test_a_block_that_went_elsewhere_is_misdirected(written: Written) -> None:
    """It is whole, and in the wrong place."""
    put(written.device, VICTIM, block(written.newer, OTHER))
    assert read_back(written).findings == (BlockFinding(VICTIM, "misdirected"),)


def test_two_blocks_that_changed_places_are_both_found(written: Written) -> None:
    """Neither hides the other."""
    put(written.device, VICTIM, block(written.newer, OTHER))
    put(written.device, OTHER, block(written.newer, VICTIM))
    assert [f.problem for f in read_back(written).findings] == ["misdirected", "misdirected"]


def test_zeros_are_blank(written: Written) -> None:
    """The write never arrived."""
    put(written.device, VICTIM, bytes(BLOCK))
    assert read_back(written).findings == (BlockFinding(VICTIM, "blank"),)


def test_foreign_data_has_no_header(written: Written) -> None:
    """Somebody else wrote there."""
    put(written.device, VICTIM, b"somebody else's " * (BLOCK // 16))
    assert read_back(written).findings == (BlockFinding(VICTIM, "no-header"),)


def test_a_block_of_the_older_pass_is_stale(written: Written) -> None:
    """Whole and in place, but not what was acknowledged last."""
    put(written.device, VICTIM, block(written.older, VICTIM))
    (finding,) = read_back(written).findings
    assert finding.offset == VICTIM
    assert finding.problem.startswith("stale by ")


def test_every_kind_of_damage_is_found_at_once(written: Written) -> None:
    """In the order of the offsets."""
    at = [AREA.offset + n * BLOCK for n in (0, 20, 40, 95)]
    put(written.device, at[0] + 200, b"\0\0\0\0\0\0\0\0\0")
    put(written.device, at[1], block(written.newer, at[0]))
    put(written.device, at[2], bytes(BLOCK))
    put(written.device, at[3], block(written.older, at[3]))
    found = read_back(written)
    assert [f.offset for f in found.findings] == at
    assert [f.problem.split()[0] for f in found.findings] == [
        *("torn", "misdirected", "blank", "stale")
    ]
    assert found.checked == COUNT


def test_what_cannot_be_read_is_said_to_be_so(written: Written) -> None:
    """The device ended, for instance, as a LUN that has shrunk; the rest is still read."""
    with written.device.open("r+b") as disk:
        disk.truncate(OTHER + BLOCK)
    found = read_back(written)
    assert found.findings[0] == BlockFinding(OTHER + BLOCK, "unreadable:short")
    assert len(found.findings) == COUNT - 81
    assert found.checked == COUNT


def test_only_the_asked_blocks_are_read(written: Written) -> None:
    """What was not acknowledged may be anything."""
    put(written.device, OTHER, bytes(BLOCK))
    assert list(read(written.device, [VICTIM])) == [VICTIM]
    assert read(written.device, [VICTIM])[VICTIM].problem == "ok"
    assert read(written.device, []) == {}


def test_headers_within_a_larger_block_are_read_one_by_one() -> None:
    """The fill of the read area has one every 4 KiB."""
    with folder_for_direct_io() as folder:
        device = folder / "disk"
        job = replace(FILL, area=Area(0, 256 * KIB), block_size=64 * KIB, header_every=4 * KIB)
        run_fio(device, job)
        found = read(device, range(0, 256 * KIB, 4 * KIB), 4 * KIB)
    assert {b.problem for b in found.values()} == {"ok"}
    assert len(found) == 64


def test_the_time_in_a_header_is_that_of_the_log(written: Written) -> None:
    """Both on CLOCK_MONOTONIC, so that older and newer can be told apart."""
    found = read(written.device, list(acknowledged(written.log)))
    submitted = (written.log.at_ns - written.log.latency_ns).tolist()
    for offset, submitted_ns in zip(written.log.offset.tolist(), submitted, strict=True):
        assert abs(found[offset].written_ns - submitted_ns) < 250 * NS_PER_MS


@given(
    st.lists(st.integers(0, 2000), unique=True, max_size=200).map(sorted),
    st.sampled_from([4 * KIB, 64 * KIB, 2 * CHUNK]),
)
def test_stretches_hold_every_block_once(numbers: list[int], block_size: int) -> None:
    """In whole blocks, in order, no longer than a chunk or a single block."""
    offsets = [n * block_size for n in numbers]
    runs = list(stretches(offsets, block_size))
    assert [o for start, size in runs for o in range(start, start + size, block_size)] == offsets
    assert all(size <= max(CHUNK, block_size) for _, size in runs)
