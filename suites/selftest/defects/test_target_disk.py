"""Planted defects of what is below the LUN: for a while it fails, refuses, or forgets writes."""

from __future__ import annotations

import time

from harness.testbed import Testbed
from harness.topology import Role
from harness.workload import Area
from suites.selftest.defects.plants import assert_detected, run_clean
from suites.selftest.defects.served import (
    BACKING_FILE,
    LOOP,
    change_mapping,
    on_the_device_mapper,
    sectors_withheld,
    serve,
)

_SECTOR = 512
_FAILED = "paths failed without a fault there: "

# $1 is the folder. Unwritten extents take all of the room, and nothing is written. The last call
# must fail: then there is no room yet.
_NO_ROOM = """
cd "$1"
for size in 256M 64M 16M 4M 1M 64K 4K; do
  n=0
  while fallocate --length $size planted.$size.$n 2>/dev/null; do n=$((n + 1)); done
done
sleep 2
if fallocate --length 4K planted.last 2>/dev/null; then status=1; else status=0; fi
rm planted.*
exit $status
"""

# $1 is the target's IQN; prints what every initiator may do then.
_READ_ONLY = """
for may in /sys/kernel/config/target/iscsi/"$1"/tpgt_*/acls/*/lun_0/write_protect; do
  echo 1 >"$may"
  cat "$may"
done
sleep 2
for may in /sys/kernel/config/target/iscsi/"$1"/tpgt_*/acls/*/lun_0/write_protect; do
  echo 0 >"$may"
done
"""


def test_a_part_of_the_targets_disk_that_fails(testbed: Testbed, seed: int) -> None:
    """The device mapper on the target refuses every access to the middle of what is written.

    LIO says NOT READY then, as if it would pass, and I/O hangs until queueing is ended.
    """
    serve(testbed, on_the_device_mapper(testbed))
    tables: list[str] = []
    measured = run_clean(testbed, seed, amid=lambda: tables.append(_refuse_a_part(testbed)))
    assert " error" in tables[0]
    assert_detected(
        "medium errors on a part of the target's disk, which LIO calls NOT READY",
        measured,
        by="no I/O errors",
        fails="I/O hung, and failed once queueing was ended",
    )


def test_a_part_of_the_targets_disk_that_fails_for_two_seconds(testbed: Testbed, seed: int) -> None:
    """What was refused is sent again, and all is well in the end; only the paths tell of it."""
    serve(testbed, on_the_device_mapper(testbed))
    tables: list[str] = []

    def refuse_for_a_while() -> None:
        tables.append(_refuse_a_part(testbed))
        time.sleep(2)
        tables.append(change_mapping(testbed, testbed.layout.write_area))

    measured = run_clean(testbed, seed, amid=refuse_for_a_while)
    assert [" error" in table for table in tables] == [True, False]
    assert_detected(
        "a part of the target's disk fails for two seconds",
        measured,
        by="no unexpected path loss",
        fails=_FAILED,
    )


def test_writes_that_are_acknowledged_and_dropped_for_two_seconds(
    testbed: Testbed, seed: int
) -> None:
    """The disk below the LUN forgets them; they are written again within four seconds."""
    serve(testbed, on_the_device_mapper(testbed))
    area = testbed.layout.hot_area
    dropped: list[int] = []

    def forget() -> None:
        withheld = sectors_withheld(testbed)
        forgets = f"flakey {LOOP} {{first}} 0 60 1 drop_writes"
        assert "drop_writes" in change_mapping(testbed, area, forgets)
        time.sleep(2)
        change_mapping(testbed, area)
        dropped.append(sectors_withheld(testbed) - withheld)

    measured = run_clean(testbed, seed, amid=forget)
    assert dropped[0] >= 16 * testbed.config.workload.block_size // _SECTOR
    assert_detected(
        "writes acknowledged and dropped for two seconds, and overwritten later",
        measured,
        by="data intact",
        fails="while the I/O went on",
    )
    assert measured.read_back is not None
    assert measured.read_back.findings == ()


def test_a_target_without_room_for_two_seconds(testbed: Testbed, seed: int) -> None:
    """Its file system is full, as a pool may be that promises more than it has."""
    area, target = testbed.layout.write_area, testbed.machine(Role.TARGET)
    part = f"--offset {area.offset} --length {area.size}"
    target.sh(f"fallocate --punch-hole {part} {BACKING_FILE}")  # so that writes there need room
    folder = BACKING_FILE.rpartition("/")[0]
    fill = ["sh", "-euc", _NO_ROOM, "sh", folder]
    measured = run_clean(testbed, seed, amid=lambda: target.run(fill, timeout_s=120))
    assert_detected(
        "the target has no room for two seconds",
        measured,
        by="no unexpected path loss",
        fails=_FAILED,
    )


def test_a_lun_that_refuses_writes_for_two_seconds(testbed: Testbed, seed: int) -> None:
    """It says that it is read-only (DATA PROTECT): no other path is tried, and fio sees it."""
    protect = ["sh", "-euc", _READ_ONLY, "sh", testbed.topology.target_iqn]
    said: list[str] = []
    target = testbed.machine(Role.TARGET)
    measured = run_clean(testbed, seed, amid=lambda: said.append(target.run(protect).stdout))
    assert set(said[0].split()) == {"1"}
    assert_detected(
        "a LUN that is read-only for two seconds",
        measured,
        by="no I/O errors",
        fails="fio job 'write' had 1 I/O errors (errno ",
    )


def _refuse_a_part(testbed: Testbed) -> str:
    """Map the middle of what is written to nothing; what the device mapper has then."""
    area = testbed.layout.write_area
    middle = Area(area.offset + area.size // 2, area.size // 4)
    return change_mapping(testbed, middle, "error")
