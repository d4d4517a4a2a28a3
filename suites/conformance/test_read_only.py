"""A LUN that is read-only for an initiator: the target itself refuses writes (SBC-3, SPC-4)."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import pytest

from harness.testbed import Testbed
from harness.testbed.map_view import MapView

_SECTOR = 512
# WRITE(10) of the block at an address, SBC-3 table 191.
_WRITE_10 = "2a 00 {0:02x} {1:02x} {2:02x} {3:02x} 00 00 01 00"
# WRITE(10) has an address of 32 bits.
_BLOCKS_WITHIN_REACH = 1 << 32
# CHECK CONDITION with DATA PROTECT, as sg_raw(8) puts it.
_REFUSED = "Write protected"


@pytest.fixture
def readers(testbed: Testbed) -> tuple[MapView, ...]:
    """The maps of initiators that only read."""
    found = tuple(one for one in testbed.maps if one.planned.read_only)
    if not found:
        pytest.skip("no LUN is read-only for an initiator (luns.N.read_only)")
    return found


def test_what_only_reads_cannot_write(testbed: Testbed, readers: Sequence[MapView]) -> None:
    """Neither over the map nor over any path, past the kernel's own idea of the disk."""
    for reader in readers:
        machine = testbed.machine(reader.machine)
        last = min(reader.lun.size // _SECTOR, _BLOCKS_WITHIN_REACH) - 1
        command = _WRITE_10.format(*last.to_bytes(4, "big"))
        to_the_map = ["dd", "if=/dev/zero", f"of={reader.device}", f"bs={_SECTOR}", "count=1"]
        said = machine.run([*to_the_map, f"seek={last}", "oflag=direct"], check=False)
        assert said.status != 0
        for path in reader.attachment.paths():
            argv = ["sg_raw", "--readonly", f"--send={_SECTOR}", "--infile=/dev/zero"]
            said = machine.run([*argv, f"/dev/{path.disk}", *command.split()], check=False)
            assert _REFUSED in said.stdout + said.stderr
            read = ["dd", f"if=/dev/{path.disk}", "of=/dev/null", f"bs={_SECTOR}", "count=1"]
            machine.run([*read, "iflag=direct"])


def test_what_may_write_is_heard_by_who_only_reads(
    testbed: Testbed, readers: Sequence[MapView]
) -> None:
    """The block beyond all that tests use, over every path: both see one LUN.

    It is another block for each reader and in each run: one that was there before is no proof.
    """
    for reader in readers:
        (writer,) = (
            one
            for one in testbed.maps
            if one.lun == reader.lun and one.machine == reader.lun.writers[0]
        )
        last = reader.lun.size // _SECTOR - 1
        text = f"{writer.lun} by {writer.machine} for {reader.machine}, {uuid4()}"
        block = text.encode().ljust(_SECTOR, b".")
        write = ["dd", f"of={writer.device}", f"bs={_SECTOR}", "count=1", f"seek={last}"]
        testbed.machine(writer.machine).run([*write, "oflag=direct", "conv=notrunc"], stdin=block)
        for path in reader.attachment.paths():
            read = ["dd", f"if=/dev/{path.disk}", f"bs={_SECTOR}", "count=1", f"skip={last}"]
            said = testbed.machine(reader.machine).run([*read, "iflag=direct"])
            assert said.stdout_bytes == block
