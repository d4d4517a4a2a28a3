"""Claiming a LUN, with the real tools, on files that stand for a map and its paths."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import harness.preflight.reader
from harness.config import Config
from harness.errors import PreflightFailed
from harness.machine import LocalMachine, Process
from harness.preflight import Answer, Asked, claim, marker
from harness.preflight.claim import _Reading, parse_keys, parse_signatures, read_in_full
from harness.preflight.consent import Scan, Signature
from harness.preflight.unmapped import Extent
from harness.topology import plan
from harness.transport.devices import Survey
from harness.transport.dm_multipath.attachment import MultipathAttachment
from harness.transport.path_disk import PathDisk
from harness.units import MIB
from suites.selftest.unit.fio_on_this_host import folder_for_direct_io

WWID = "360014057043dfe0435de773ca03bbf04"
SIZE = 40 * MIB
PATHS = ("sda", "sdb")
PROGRAM = Path(harness.preflight.reader.__file__)
# As sg_persist 1.46 prints them.
KEYS = """\
  LIO-ORG   FILEIO            4.0
  Peripheral device type: disk
  PR generation=0x2, 3 registered reservation keys follow:
    0xabc
    0xabc
    0xdef

"""
NO_KEYS = """\
  LIO-ORG   FILEIO            4.0
  Peripheral device type: disk
  PR generation=0x0, there are NO registered reservation keys
"""

pytestmark = pytest.mark.skipif(shutil.which("wipefs") is None, reason="needs wipefs")


class Lab(LocalMachine):
    """This host, with /dev in a folder of its own; it notes what it ran."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.ran: list[str] = []

        # Of a file the page cache is never out of date, nor can it be dropped like a disk's.
        self.instead = {"blockdev": ["true"]}

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        self.ran.append(argv[0])
        here = [a if "\n" in a else a.replace("/dev/", f"{self.folder}/dev/") for a in argv]
        return super().start(self.instead.get(argv[0], here), on_line=on_line)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with folder_for_direct_io() as folder:
        (folder / "dev/mapper").mkdir(parents=True)
        lun = folder / "lun"
        lun.touch()
        os.truncate(lun, SIZE)
        for name in (*PATHS, f"mapper/{WWID}"):
            (folder / "dev" / name).symlink_to(lun)
        yield Lab(folder)


def lun(lab: Lab) -> Path:
    return lab.folder / "lun"


def put(lab: Lab, offset: int, data: bytes) -> None:
    with lun(lab).open("r+b") as disk:
        disk.seek(offset)
        disk.write(data)


class Finder(MultipathAttachment):
    """Knows its paths without asking."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, plan(Config()), WWID, lambda: Survey((), ()))
        self.answers = [self.found(*PATHS)] * 2

    @staticmethod
    def found(*names: str) -> tuple[PathDisk, ...]:
        return tuple(PathDisk(path, name, "8:0") for path, name in zip("ab", names, strict=True))

    def paths(self) -> tuple[PathDisk, ...]:
        return self.answers.pop(0)


def claimed(lab: Lab, *, erase: str | None = None) -> Answer:
    return claim(Finder(lab), Asked(WWID, erase, region=16 * MIB))


def refused(lab: Lab) -> str:
    """Why, and that not a byte was changed."""
    before = lun(lab).read_bytes()
    with pytest.raises(PreflightFailed) as caught:
        claimed(lab)
    assert lun(lab).read_bytes() == before
    assert not {"dd"}.intersection(lab.ran)
    return str(caught.value)


def test_a_line_that_was_cut_off_says_nothing() -> None:
    """The connection was lost; that is told, and not what JSON makes of half a line."""
    reading = _Reading()
    reading.hear(b'{"read": 1, "size": 2}\n')
    reading.hear(b'{"read": 2, "da')
    assert (reading["read"], reading["data"]) == (1, None)
    with pytest.raises(ValueError, match="Expecting"):
        reading.hear(b"garbled\n")


def test_a_blank_lun_is_read_in_full_and_marked(lab: Lab) -> None:
    """And the second time the marker is enough, and nothing is read but the beginning."""
    assert claimed(lab) is Answer.BLANK
    first = marker.unpack(lun(lab).read_bytes()[: marker.SIZE])
    assert (first.wwid, first.size) == (WWID, SIZE)
    put(lab, SIZE - 1, b"\1")
    assert claimed(lab) is Answer.MARKED
    assert marker.unpack(lun(lab).read_bytes()[: marker.SIZE]).mark != first.mark


@pytest.mark.parametrize("offset", [0, marker.SIZE, 9 * MIB + 4711, SIZE - 1])
def test_one_byte_anywhere_is_data(lab: Lab, offset: int) -> None:
    """Found wherever it is, told, and left as it is."""
    put(lab, offset, b"\1")
    assert f"a byte at offset {offset} is not zero" in refused(lab)


@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="needs mkfs.ext4")
def test_a_file_system_is_refused_until_its_owner_gives_it_up(lab: Lab) -> None:
    """By the WWID, and once: then the marker is enough."""
    subprocess.run(["mkfs.ext4", "-q", "-L", "payroll", lun(lab)], check=True)
    said = refused(lab)
    assert "ext4 labelled 'payroll' at offset 1080" in said
    assert f"--erase {WWID}" in said
    assert claimed(lab, erase=WWID) is Answer.ERASE
    assert claimed(lab) is Answer.MARKED


@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="needs mkfs.ext4")
def test_a_file_system_made_on_a_marked_lun_is_refused(lab: Lab) -> None:
    """Whoever makes one takes the marker away."""
    claimed(lab)
    lab.ran.clear()
    subprocess.run(["mkfs.ext4", "-q", "-F", lun(lab)], check=True)
    assert "ext4" in refused(lab)


def test_a_map_that_somebody_holds_is_refused(lab: Lab) -> None:
    """Whoever it is: a map that cannot be opened has another user."""
    (lab.folder / "dev/mapper" / WWID).unlink()
    assert "cannot be opened exclusively: No such file or directory" in refused(lab)


def test_paths_to_different_luns_are_told_apart(lab: Lab) -> None:
    """Though both are blank: what is written over one is not seen over the other."""
    other = lab.folder / "other"
    other.touch()
    os.truncate(other, SIZE)
    (lab.folder / "dev/sdb").unlink()
    (lab.folder / "dev/sdb").symlink_to(other)
    with pytest.raises(PreflightFailed, match="sdb do not show what was written over sda"):
        claimed(lab)
    assert not any(other.read_bytes())


def test_paths_that_changed_meanwhile_are_not_written_to(lab: Lab) -> None:
    """Reading takes hours; then sda may be another disk."""
    finder = Finder(lab)
    finder.answers[1] = finder.found("sdb", "sda")
    with pytest.raises(PreflightFailed, match="while it was looked at"):
        claim(finder, Asked(WWID))
    assert not any(lun(lab).read_bytes())


def test_a_map_that_is_taken_while_it_is_read_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes it may write behind the reader, and be gone again."""
    there = lab.folder / "dev/mapper" / WWID

    def gone(*_: object) -> list[Extent]:
        there.rename(there.with_name("taken"))
        return []

    def back(*arguments: object) -> Scan:
        scan = read_in_full(*arguments)  # type: ignore[arg-type]
        there.with_name("taken").rename(there)
        return scan

    module = sys.modules[claim.__module__]  # which has the function's name
    monkeypatch.setattr(module, "unmapped", gone)
    monkeypatch.setattr(module, "read_in_full", back)
    assert "No such file or directory" in refused(lab)


def test_a_wrong_name_in_erase_is_refused(lab: Lab) -> None:
    """Even if it would not be needed."""
    before = lun(lab).read_bytes()
    with pytest.raises(PreflightFailed, match="--erase names 36001405"):
        claimed(lab, erase="36001405")
    assert lun(lab).read_bytes() == before


def stand_in(lab: Lab, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, str]) -> None:
    """Scripts in place of the tools that ask a real target."""
    folder = lab.folder / "bin"
    folder.mkdir()
    for name, script in answers.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_lun_that_another_host_registered_with_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it is blank, and given up: that host may begin to write at any moment."""
    registered = f"cat <<'E'\n{KEYS}E"
    stand_in(lab, monkeypatch, {"sg_persist": registered})
    says = "has persistent reservation keys: 0xabc, 0xdef"
    assert says in refused(lab)
    with pytest.raises(PreflightFailed, match=says):
        claimed(lab, erase=WWID)


def test_no_keys_are_no_use_by_others() -> None:
    assert parse_keys(NO_KEYS) == []


def test_what_was_never_written_is_not_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the target's account."""
    capacity = "Logical block provisioning: lbpme=1, lbprz=1\nLogical block length=512 bytes"
    blocks, hole = SIZE // 512, 16 * MIB // 512
    answers = {
        "sg_readcap": f"echo '{capacity}'",
        "sg_get_lba_status": (
            f'case $4 in *=0) echo "0x0  {hole:#x}  0" ;; '
            f'*) echo "{hole:#x}  {blocks - hole:#x}  1" ;; esac'
        ),
    }
    stand_in(lab, monkeypatch, answers)
    assert read_in_full(Finder(lab), "sda", SIZE) == Scan(SIZE, 18 * MIB, SIZE - 18 * MIB)
    put(lab, SIZE - 1, b"\1")  # the target errs, and a sample shows it
    assert read_in_full(Finder(lab), "sda", SIZE).data_at == SIZE - 1


def run_reader(disk: Path, held: Path, extents: str) -> dict[str, object]:
    argv = [sys.executable, "-I", "-S", "-c", PROGRAM.read_text(), str(disk), str(held)]
    done = subprocess.run(argv, input=extents, capture_output=True, text=True, check=True)
    said: dict[str, object] = {}
    for line in done.stdout.splitlines():
        said |= json.loads(line)
    return said


def test_the_reader_says_why_not_all_was_read(lab: Lab) -> None:
    """A disk that ends early is not blank."""
    said = run_reader(lun(lab), lun(lab), f"0 {SIZE}\n{SIZE} 4096\n")
    assert said["failed"] == f"offset {SIZE}: 0 bytes instead of 4096"
    assert said["read"] == SIZE


def test_the_reader_reads_only_what_it_is_told(lab: Lab) -> None:
    """A byte elsewhere is none of its business."""
    put(lab, 8192, b"\1")
    said = run_reader(lun(lab), lun(lab), "0 4096\n12288 4096\n")
    assert (said["read"], "data" in said, said["held"], said["size"]) == (8192, False, "", SIZE)


def test_no_signature_is_an_empty_list() -> None:
    """However wipefs says so; anything else is no answer."""
    assert parse_signatures("") == parse_signatures('{"signatures": []}') == ()
    text = '{"signatures": [{"offset": "0x438", "type": "ext4", "label": null}]}'
    assert parse_signatures(text) == (Signature("ext4", 0x438),)
