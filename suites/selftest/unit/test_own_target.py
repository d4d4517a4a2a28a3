"""Whether paths lead to the testbed's own target, on files that stand for LUNs and paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from harness.config import Config
from harness.config.profiles import FAST
from harness.errors import CommandFailed, PreflightFailed
from harness.machine import LocalMachine, Process
from harness.preflight import mark_own, marker, require_mark
from harness.topology import plan
from harness.transport import IscsiInitiator
from harness.units import MIB
from suites.selftest.unit.fio_on_this_host import folder_for_direct_io

WWID = "360014057043dfe0435de773ca03bbf04"
SIZE = MIB


class Machine(LocalMachine):
    """This host, with /dev in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__("initiator")
        self.folder = folder

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        here = [word.replace("/dev/", f"{self.folder}/dev/") for word in argv]
        return super().start(here, on_line=on_line)


@pytest.fixture
def folder() -> Iterator[Path]:
    """With two LUNs that nothing tells from each other, and two paths to the first."""
    with folder_for_direct_io() as folder:
        (folder / "dev").mkdir()
        for lun in ("own", "other"):
            (folder / lun).write_bytes(bytes(SIZE))
        for path in ("sda", "sdb"):
            (folder / "dev" / path).symlink_to(folder / "own")
        yield folder


def lead(folder: Path, path: str, lun: str) -> None:
    (folder / "dev" / path).unlink()
    (folder / "dev" / path).symlink_to(folder / lun)


def proven(folder: Path) -> None:
    initiator = IscsiInitiator(Machine(folder), plan(Config()), FAST, (WWID,))
    block = mark_own(LocalMachine("target"), str(folder / "own"), WWID, SIZE)
    require_mark(block, initiator.attachments[0], ["sda", "sdb"])


def test_a_mark_of_the_target_is_seen_over_every_path(folder: Path) -> None:
    """Another one each time: what was copied from an earlier one proves nothing."""
    proven(folder)
    first = marker.unpack((folder / "own").read_bytes()[: marker.SIZE])
    proven(folder)
    second = marker.unpack((folder / "own").read_bytes()[: marker.SIZE])
    assert first.mark != second.mark
    assert (first.wwid, first.size) == (WWID, SIZE)
    assert not any((folder / "own").read_bytes()[marker.SIZE :])


@pytest.mark.parametrize("copied", [False, True])
def test_a_path_to_another_target_is_found(folder: Path, copied: bool) -> None:
    """Also if that target's LUN is a copy; and nothing is written to it."""
    if copied:
        proven(folder)
        (folder / "other").write_bytes((folder / "own").read_bytes())
    before = (folder / "other").read_bytes()
    lead(folder, "sdb", "other")
    with pytest.raises(PreflightFailed, match=f"sdb with WWID {WWID} leads to another target"):
        proven(folder)
    lead(folder, "sda", "other")
    with pytest.raises(PreflightFailed, match=r"sda, sdb .* lead to another target"):
        proven(folder)
    assert (folder / "other").read_bytes() == before


def test_a_path_that_cannot_be_read_is_no_path_to_another_target(folder: Path) -> None:
    (folder / "dev/sdb").unlink()
    with pytest.raises(CommandFailed, match="sdb"):
        proven(folder)
