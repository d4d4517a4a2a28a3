"""What nobody writes to: noted once, compared later; and where on a LUN that is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.config.model import WorkloadConfig
from harness.errors import WorkloadError
from harness.measurements import MAP, BlockFinding, Damage
from harness.testbed.lun_layout import Layout
from harness.topology import plan
from harness.units import KIB, MIB
from harness.workload import keeper as keeper_module
from harness.workload.kept import Kept, canaries, parse
from harness.workload.programs import keeper
from suites.selftest.unit.fio_on_this_host import folder_for_direct_io, run_fio

TIB = 1 << 40
LAYOUT = Layout.of(WorkloadConfig(region=16 * MIB))
FILL = replace(LAYOUT.fill(), area=replace(LAYOUT.read_area, size=256 * KIB))


@pytest.fixture
def disk() -> Iterator[Path]:
    """Filled by fio, and noted."""
    with folder_for_direct_io() as folder:
        file = folder / "disk"
        file.write_bytes(bytes(2 * MIB))
        run_fio(file, FILL)
        extents = f"{FILL.area.offset} {FILL.area.size}\n{MIB} 4096\n"
        run("keep", file, extents)
        yield file


def run(what: str, disk: Path, extents: str = "") -> str:
    argv = [sys.executable, "-I", "-S", "-c", keeper(), what, str(disk.parent / "kept"), str(disk)]
    done = subprocess.run(argv, input=extents, capture_output=True, text=True, check=True)
    return done.stdout


def put(disk: Path, offset: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_what_is_as_it_was_is_compared_and_told_in_no_line(disk: Path) -> None:
    assert parse(run("check", disk)) == Kept(compared=5)


@pytest.mark.parametrize("size", [4 * KIB, 64 * KIB])
def test_a_filled_part_that_was_blanked_is_found(disk: Path, size: int) -> None:
    """Block by block, each where it is."""
    put(disk, FILL.area.offset + 64 * KIB, bytes(size))
    findings = parse(run("check", disk)).findings
    assert [f.offset for f in findings] == [
        FILL.area.offset + 64 * KIB + at for at in range(0, size, 4 * KIB)
    ]
    assert findings[0].detail == "nothing was written there, and it is blank"


def test_a_block_that_went_astray_says_where_it_belongs(disk: Path) -> None:
    """On a canary, which was blank."""
    put(disk, MIB, disk.read_bytes()[FILL.area.offset :][: 4 * KIB])
    detail = f"nothing was written there; it holds what belongs at offset {FILL.area.offset}"
    assert parse(run("check", disk)).findings == (BlockFinding(MIB, MAP, Damage.CHANGED, detail),)


def test_what_is_whole_but_another_is_found(disk: Path) -> None:
    """An earlier fill of the same place, for instance."""
    before = disk.read_bytes()
    run_fio(disk, FILL)
    (first, *_) = parse(run("check", disk)).findings
    assert first.detail.endswith("it is another block of the same place")
    disk.write_bytes(before)
    assert parse(run("check", disk)).findings == ()


def test_what_cannot_be_read_is_a_finding(disk: Path) -> None:
    """The LUN shrank."""
    with disk.open("r+b") as file:
        file.truncate(MIB)
    (finding,) = parse(run("check", disk)).findings
    assert (finding.offset, finding.damage) == (MIB, Damage.UNREADABLE)
    assert finding.detail == "it cannot be read (errno 0)"


def test_what_a_second_comparison_finds_counts_once() -> None:
    """And what was compared only once does not count."""
    blank = BlockFinding(MIB, MAP, Damage.CHANGED, "blank")
    torn = BlockFinding(2 * MIB, MAP, Damage.CHANGED, "torn")
    both = Kept(9, (blank,)).then(Kept(8, (blank, torn)))
    assert both == Kept(8, (blank, torn))
    assert Kept(9).then(Kept(failure="it hung")) == Kept(0, (), "it hung")


@given(st.integers(64 * MIB, 8 * TIB).map(lambda n: n // 512 * 512), st.integers(0, 64 * MIB))
def test_canaries_are_all_over_the_lun_and_outside_of_the_region(size: int, after: int) -> None:
    """The last piece is among them, and both sides of the 2^32nd sector where there is one."""
    areas = canaries(size, after)
    assert areas == canaries(size, after)
    assert all(after <= area.offset and area.end <= size for area in areas)
    offsets = {area.offset for area in areas}
    if size - after > MIB:
        assert max(offsets) >= size - 128 * KIB
        assert len(areas) >= 10
    if size > 2 * TIB + MIB:
        assert {2 * TIB, 2 * TIB - 64 * KIB} <= offsets


def test_no_job_writes_to_what_is_kept() -> None:
    for layout in (LAYOUT, Layout.of(WorkloadConfig(), 4)):
        for job in layout.mixed(1):
            for area in layout.kept_on(plan(Config()).maps[0]):
                assert not job.kind.writes or job.area.offset >= area.end


def test_a_place_that_leads_to_another_lun_is_told_with_its_identity() -> None:
    """And one that does not answer, with the reason."""
    lines = ["a is names 3:60 1, serial number x, 8 blocks of 512 bytes", "b silent No such device"]
    kept = parse("\n".join([*lines, "compared 3"]))
    assert kept.others == {"a": "names 3:60 1, serial number x, 8 blocks of 512 bytes"}
    assert kept.silent == {"b": "No such device"}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (["names 1", "serial number 'a, b'", "8 blocks"], ""),
        (
            ["names 2", "serial number 'a, b'", "8 blocks"],
            "a is names 2, serial number 'a, b', 8 blo",
        ),
        (["names 1", "?", "8 blocks"], "a silent it tells less than before"),
        ([], "a silent no such device"),
    ],
)
def test_each_part_of_an_identity_is_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], now: list[str], told: str
) -> None:
    """What the LUN itself never told is not."""
    why = "" if now else "no such device"
    monkeypatch.setattr(keeper_module, "who", lambda _: (now, why))
    keeper_module.compare_identities(["names 1", "serial number 'a, b'", "8 blocks"], ["a=/dev/x"])
    said = capsys.readouterr().out
    assert said.startswith(told)
    assert bool(said) is bool(told)
    keeper_module.compare_identities(["names 1", "?", "?"], ["a=/dev/x"])
    again = capsys.readouterr().out
    assert bool(again) is (now[:1] != ["names 1"])


def test_without_a_scsi_disk_nothing_is_said_of_identities(disk: Path) -> None:
    """A file has none: there is nothing to compare with."""
    argv = [sys.executable, "-I", "-S", "-c", keeper(), "check", str(disk.parent / "kept")]
    done = subprocess.run([*argv, str(disk), f"a={disk}"], capture_output=True, check=True)
    assert parse(done.stdout.decode()) == Kept(compared=5)


@pytest.mark.parametrize("text", ["", "12 blank 0\n", "compared x\n", "Traceback\ncompared 3\n"])
def test_a_comparison_of_another_form_is_refused(text: str) -> None:
    """One that ended early compared nothing."""
    with pytest.raises(WorkloadError, match="comparison"):
        parse(text)
