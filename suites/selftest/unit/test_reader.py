"""The reader as the program that it is, on a file really written by fio and then damaged."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.workload.reader
from harness.config import Config
from harness.config.model import WorkloadConfig
from harness.measurements import MAP, BlockFinding, Damage, ReadBack
from harness.testbed.lun_layout import Layout
from harness.topology import plan
from harness.units import KIB, NS_PER_MS
from harness.workload import Area, Job, JobKind, Ledger
from harness.workload.ledger import Looks, parse_looks
from harness.workload.reader import (
    CHUNK,
    GAP,
    HEADER_3_41,
    MAGIC,
    Place,
    crc32c,
    inspect,
    read_path,
    stretches,
)
from suites.selftest.unit.fio_on_this_host import Outcome, folder_for_direct_io, run_fio

PROGRAM = Path(harness.workload.reader.__file__)
BLOCK = 16 * KIB
COUNT = 96  # more than one read of the reader's
AREA = Area(64 * KIB, COUNT * BLOCK)
OLDER = Job("fill", JobKind.WRITE, AREA, BLOCK, 4, verified=True).marked()
FILL = replace(OLDER, nonce="").marked()
VICTIM, OTHER = AREA.offset + 7 * BLOCK, AREA.offset + 80 * BLOCK
PLACES = (MAP, "sda", "sdb")


@dataclass(frozen=True)
class Written:
    """What fio wrote twice, as a map and two paths of it; the content after both passes."""

    places: Mapping[str, Path]
    older: bytes
    newer: bytes
    outcome: Outcome

    def ledger(self) -> Ledger:
        return Ledger.of(self.outcome.logs[0], self.outcome.issued["fill"])

    def put(self, offset: int, data: bytes, *places: str) -> None:
        """Damage what some places have, or all of them."""
        for place in places or PLACES:
            with self.places[place].open("r+b") as disk:
                disk.seek(offset)
                disk.write(data)

    def findings(self) -> tuple[BlockFinding, ...]:
        return read_back(self).findings


@pytest.fixture(scope="module")
def twice() -> Iterator[Written]:
    with folder_for_direct_io() as folder:
        places = {place: folder / place for place in PLACES}
        run_fio(places[MAP], OLDER)
        older = places[MAP].read_bytes()
        outcome = run_fio(places[MAP], replace(FILL, kind=JobKind.RANDOM_WRITE, seed=5))
        yield Written(places, older, places[MAP].read_bytes(), outcome)


@pytest.fixture
def written(twice: Written) -> Written:
    """Undamaged at the beginning of each test."""
    for file in twice.places.values():
        file.write_bytes(twice.newer)
    return twice


def read(
    places: Mapping[str, Path], offsets: Sequence[int], block_size: int = BLOCK, nonce: str = ""
) -> Looks:
    """Exactly as on a guest: isolated, without site-packages, offsets on standard input."""
    (looks,) = read_jobs(places, wanted(offsets, block_size, nonce))
    return looks


def wanted(offsets: Sequence[int], block_size: int = BLOCK, nonce: str = "") -> str:
    """What the program takes for one job."""
    return f"job {block_size} {nonce}\n" + "".join(f"{offset}\n" for offset in offsets)


def read_jobs(places: Mapping[str, Path], *jobs: str) -> list[Looks]:
    """The looks of each job."""
    devices = [f"{place}={device}" for place, device in places.items()]
    argv = [sys.executable, "-I", "-S", "-c", PROGRAM.read_text(), *devices]
    done = subprocess.run(argv, input="".join(jobs), capture_output=True, text=True, check=True)
    return parse_looks(done.stdout)


def read_back(written: Written) -> ReadBack:
    ledger = written.ledger()
    return ledger.compare(read(written.places, list(ledger.blocks), nonce=FILL.nonce))


def block(content: bytes, offset: int) -> bytes:
    return content[offset : offset + BLOCK]


def test_nothing_is_found_where_nothing_is_wrong(written: Written) -> None:
    """Every block that fio wrote is there, wherever it is read; fio has read each, too."""
    assert read_back(written) == ReadBack(COUNT, COUNT, dict.fromkeys(PLACES, COUNT))


def test_the_blocks_of_another_lun_are_found() -> None:
    """As on a path that leads there: the same area was written, with the same job."""
    maps = plan(Config.model_validate({"luns": [{"size": "64MiB"}] * 2})).maps
    layout = Layout.of(WorkloadConfig(), len(maps))
    job = replace(FILL, kind=JobKind.RANDOM_WRITE, seed=5)
    with folder_for_direct_io() as folder:
        luns = [folder / one.name for one in maps]
        first, _ = [run_fio(d, *layout.jobs_on(m, [job])) for d, m in zip(luns, maps, strict=True)]
        ledger = Ledger.of(first.logs[0], first.issued["fill"])
        places = {MAP: luns[0], "sda": luns[1]}
        back = ledger.compare(read(places, list(ledger.blocks)))
    assert {(one.place, one.damage) for one in back.findings} == {("sda", Damage.FOREIGN)}
    assert len(back.findings) > COUNT * 0.9  # a few writes of a number may meet at a place


@pytest.mark.parametrize("where", [12, 30, 34, 37, 45, 100, BLOCK // 2, BLOCK - 1])
def test_a_flipped_bit_is_torn(written: Written, where: int) -> None:
    """Wherever in the data, in their checksum, or in the header with its own."""
    byte = written.newer[VICTIM + where]
    written.put(VICTIM + where, bytes([byte ^ 1]))
    assert written.findings() == (BlockFinding(VICTIM, MAP, Damage.TORN),)


def test_half_a_block_of_the_older_pass_is_torn(written: Written) -> None:
    """A write that was acknowledged and only half done."""
    half = BLOCK // 2
    written.put(VICTIM + half, block(written.older, VICTIM)[half:])
    assert written.findings() == (BlockFinding(VICTIM, MAP, Damage.TORN),)


def test_a_block_that_went_elsewhere_is_misdirected(written: Written) -> None:
    """It is whole, in the wrong place, and says which is the right one."""
    written.put(VICTIM, block(written.newer, OTHER))
    detail = f"belongs at offset {OTHER}"
    assert written.findings() == (BlockFinding(VICTIM, MAP, Damage.MISDIRECTED, detail),)


def test_two_blocks_that_changed_places_are_both_found(written: Written) -> None:
    """Neither hides the other."""
    written.put(VICTIM, block(written.newer, OTHER))
    written.put(OTHER, block(written.newer, VICTIM))
    assert [f.damage for f in written.findings()] == [Damage.MISDIRECTED, Damage.MISDIRECTED]


def test_zeros_are_blank(written: Written) -> None:
    """The write never arrived."""
    written.put(VICTIM, bytes(BLOCK))
    assert written.findings() == (BlockFinding(VICTIM, MAP, Damage.BLANK),)


def test_data_without_a_header_is_foreign(written: Written) -> None:
    """Somebody else wrote there."""
    written.put(VICTIM, b"somebody else's " * (BLOCK // 16))
    assert written.findings() == (BlockFinding(VICTIM, MAP, Damage.FOREIGN),)


def test_an_acknowledged_write_that_is_not_there_is_lost(written: Written) -> None:
    """Whole and in place, but not what was acknowledged last."""
    written.put(VICTIM, block(written.older, VICTIM))
    number = written.outcome.issued["fill"].offset.tolist().index(VICTIM)
    detail = f"holds an earlier run's write instead of {number}"
    finding = BlockFinding(VICTIM, MAP, Damage.LOST, detail)
    assert written.findings() == (finding,)


def test_every_kind_of_damage_is_found_at_once(written: Written) -> None:
    """In the order of the offsets."""
    at = [AREA.offset + n * BLOCK for n in (0, 20, 40, 60, 95)]
    written.put(at[0] + 200, b"\0\0\0\0\0\0\0\0\0")
    written.put(at[1], block(written.newer, at[0]))
    written.put(at[2], bytes(BLOCK))
    written.put(at[3], b"x" * BLOCK)
    written.put(at[4], block(written.older, at[4]))
    found = read_back(written)
    assert [(f.offset, f.damage) for f in found.findings] == [
        (at[0], Damage.TORN),
        (at[1], Damage.MISDIRECTED),
        (at[2], Damage.BLANK),
        (at[3], Damage.FOREIGN),
        (at[4], Damage.LOST),
    ]
    assert found.checked == dict.fromkeys(PLACES, COUNT)


@pytest.mark.parametrize("path", ["sda", "sdb"])
def test_damage_over_one_path_names_it(written: Written, path: str) -> None:
    """The map and the other path are fine."""
    written.put(VICTIM, block(written.older, VICTIM), path)
    written.put(OTHER, bytes(BLOCK), path)
    assert [(f.offset, f.place, f.damage) for f in written.findings()] == [
        (VICTIM, path, Damage.LOST),
        (OTHER, path, Damage.BLANK),
    ]


def test_where_a_path_differs_the_map_is_looked_at_again(written: Written) -> None:
    """Whether it changed meanwhile, or the two have different disks."""
    written.put(VICTIM, block(written.older, VICTIM), "sdb")
    looks = read(written.places, [VICTIM - BLOCK, VICTIM]).blocks
    assert [look.place for look in looks[VICTIM - BLOCK]] == [MAP]
    assert [look.place for look in looks[VICTIM]] == [MAP, "sdb", MAP]


def test_what_cannot_be_read_is_said_to_be_so(written: Written) -> None:
    """The device ended, for instance, as a LUN that has shrunk; the rest is still read."""
    for device in written.places.values():
        os.truncate(device, OTHER + BLOCK)
    found = read_back(written)
    unreadable = BlockFinding(OTHER + BLOCK, MAP, Damage.UNREADABLE, "the device ends before")
    assert found.findings[0] == unreadable
    assert [f.place for f in found.findings] == [MAP] * (COUNT - 81)
    assert found.checked == dict.fromkeys(PLACES, COUNT)


def test_a_path_that_is_not_there_is_away(written: Written) -> None:
    """That is no damage to data; the others are read all the same."""
    places = {**written.places, "sdb": Path("/nowhere/sdb")}
    found = written.ledger().compare(read(places, list(written.ledger().blocks)))
    assert found.away == {"sdb": "No such file or directory"}
    assert found.checked == {MAP: COUNT, "sda": COUNT}
    assert found.findings == ()


class Failing(Place):
    """A path all of whose reads end with one error."""

    error = errno.ENOLINK

    def read(self, start: int, size: int) -> bytes | int:
        return self.error


def places_of(written: Written) -> tuple[Place, Failing]:
    device = str(written.places["sdb"])
    return Place(MAP, device, BLOCK), Failing("sdb", device, BLOCK)


@pytest.mark.parametrize("error", [errno.ENOLINK, errno.EIO, errno.ETIMEDOUT, errno.ENODEV])
def test_a_path_that_fails_while_it_is_read_is_away(
    written: Written, error: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of these errors is one of the disk; so no block is blamed."""
    first, path = places_of(written)
    path.error = error
    read_path(path, first, VICTIM, first.blocks(VICTIM, 2 * BLOCK), 2)
    assert (path.away, path.count) == (os.strerror(error), 0)
    assert capsys.readouterr().out == ""


def test_a_medium_error_is_one_of_the_block(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk was reached, and said that it cannot."""
    first, path = places_of(written)
    path.error = errno.ENODATA
    read_path(path, first, VICTIM, first.blocks(VICTIM, BLOCK), 1)
    assert (path.away, path.count) == ("", 1)
    assert capsys.readouterr().out.splitlines()[0] == f"sdb {VICTIM} unreadable:61 0 0 0"


@pytest.mark.parametrize(("state", "away"), [("running", ""), ("blocked", "the disk is blocked")])
def test_a_disk_that_does_not_run_is_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, away: str
) -> None:
    """Reading it would wait until its session is given up."""
    monkeypatch.setattr(harness.workload.reader, "BLOCK_DEVICES", str(tmp_path))
    (tmp_path / "sdb" / "device").mkdir(parents=True)
    (tmp_path / "sdb" / "device" / "state").write_text(f"{state}\n")
    disk = tmp_path / "devices" / "sdb"
    disk.parent.mkdir()
    disk.touch()
    assert Place("sdb", str(disk), BLOCK).away == away


def test_only_the_asked_blocks_are_read(written: Written) -> None:
    """What was not acknowledged may be anything."""
    written.put(OTHER, bytes(BLOCK))
    assert list(read(written.places, [VICTIM]).blocks) == [VICTIM]
    assert read(written.places, [VICTIM]).blocks[VICTIM][0].problem == "ok"
    assert read(written.places, []).blocks == {}


def test_each_job_has_its_own_size_of_a_block_and_its_own_nonce(written: Written) -> None:
    """The second job's nonce is another, and its blocks are twice as large."""
    nonce = FILL.nonce
    one, other = list(written.ledger().blocks)[:2]
    first, second, third = read_jobs(
        written.places,
        wanted([one, other], nonce=nonce),
        wanted([other], nonce="00" * 16),
        wanted([one], 2 * BLOCK, nonce),
    )
    assert [first.blocks[at][0].problem for at in (one, other)] == ["ok", "ok"]
    assert [look.problem for look in second.blocks[other]] == ["earlier"]
    assert [look.problem for look in third.blocks[one]] == ["foreign"]
    assert [looks.read[MAP] for looks in (first, second, third)] == [2, 1, 1]


def test_a_block_of_another_size_is_foreign_or_misdirected(written: Written) -> None:
    """As those of the area that is only read: they have headers, too."""
    inner = block(written.newer, VICTIM)[: BLOCK // 2]
    assert inspect(inner, VICTIM)[0] == "foreign"
    assert inspect(inner, OTHER)[0] == "misdirected"


def test_headers_of_newer_versions_of_fio_are_read() -> None:
    """Since fio 3.41 they have a version, and a number of 64 bits: struct verify_header."""
    data = bytes(range(256)) * 8
    fields = (MAGIC, 0x81, 2, 48 + 16 + len(data), 1, 4096, 7, 8, 65536 + 9, 1)
    head = HEADER_3_41.pack(*fields, 0)[:-4]
    head += crc32c(head).to_bytes(4, "little")
    content = head + hashlib.md5(data).digest() + data
    assert inspect(content, 4096) == ("ok", 7_000_000_008, 9, 4096)
    assert inspect(content, 0)[0] == "misdirected"
    assert inspect(content[:-1] + b"x", 4096)[0] == "torn"


def test_headers_within_a_larger_block_are_read_one_by_one() -> None:
    """The fill of the read area has one every 4 KiB."""
    with folder_for_direct_io() as folder:
        device = folder / "disk"
        job = replace(FILL, area=Area(0, 256 * KIB), block_size=64 * KIB, header_every=4 * KIB)
        run_fio(device, job)
        found = read({MAP: device}, range(0, 256 * KIB, 4 * KIB), 4 * KIB).blocks
    assert {look.problem for (look,) in found.values()} == {"ok"}
    assert len(found) == 64


def test_a_blocks_header_is_that_of_its_write(written: Written) -> None:
    """The number is the place in fio's log, the time on the clock of the log of completions."""
    log = written.outcome.logs[0]
    started = dict(zip(log.offset.tolist(), (log.at_ns - log.latency_ns).tolist(), strict=True))
    looks = read({MAP: written.places[MAP]}, sorted(started)).blocks
    for number, offset in enumerate(written.outcome.issued["fill"].offset.tolist()):
        (look,) = looks[offset]
        assert (look.number, look.belongs) == (number, offset)
        assert abs(look.written_ns - started[offset]) < 250 * NS_PER_MS


@given(
    st.lists(st.integers(0, 2000), unique=True, max_size=200).map(sorted),
    st.sampled_from([4 * KIB, 64 * KIB, 2 * CHUNK]),
)
def test_stretches_with_gaps_hold_every_block_and_no_large_gap(
    numbers: list[int], block_size: int
) -> None:
    """In fewer reads: what is between blocks costs less than another read."""
    offsets = [n * block_size for n in numbers]
    runs = list(stretches(offsets, block_size, GAP))
    inside = [o for start, size in runs for o in range(start, start + size, block_size)]
    assert [o for o in inside if o in set(offsets)] == offsets
    assert all(size <= max(CHUNK, block_size) for _, size in runs)
    assert len(inside) == len(set(inside))
    for before, after in pairwise(runs):
        fits = after[0] + block_size - before[0] <= max(CHUNK, block_size)
        assert after[0] - sum(before) > GAP or not fits


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
