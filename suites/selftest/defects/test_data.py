"""Planted damage to data: what was acknowledged is not there, or another disk answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import CutShort
from harness.provision.data_nics import render_script
from harness.target.base import backing_file
from harness.target.lio import SAVED, render, serving
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.plants import (
    assert_detected,
    first_portal_silent,
    lose_a_path,
    run_clean,
)

# Prints the numbers of the blocks of an area that hold one of fio's headers (verify.h), and stops
# after so many.
_WRITTEN = """
import mmap, os, sys
device, block, first, count, wanted = sys.argv[1], *map(int, sys.argv[2:])
fd, buffer = os.open(device, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, block)
for number in range(first, first + count):
    os.preadv(fd, [buffer], number * block)
    if buffer[:2] == b"\\xca\\xac":
        print(number)
        wanted -= 1
        if not wanted:
            break
"""

BACKING_FILE = backing_file("lun0")
_SECTOR = 512
_LOOP = "/dev/loop0"
_MAPPED = "planted"
_START = "/usr/lib/pathproof/planted"


def test_one_block_corrupted_during_the_outage(testbed: Testbed, seed: int) -> None:
    """The target alters a block in its backing file, after the last write to it."""
    block = testbed.config.workload.block_size
    writes, *others = testbed.layout.mixed(seed)
    target = testbed.machine(Role.TARGET)
    hit: list[int] = []

    def corrupt() -> None:
        hit.extend(_written(testbed, 1))
        target.sh(
            f"dd if=/dev/urandom of={BACKING_FILE} bs=512 count=1 conv=notrunc "
            f"seek=$(({hit[0]} * {block} / 512 + 5))"
        )

    measured = lose_a_path(
        testbed,
        seed,
        first_portal_silent(testbed),
        jobs=(replace(writes, seconds=5), *others),  # over by then, so that nothing mends it
        during=corrupt,
        during_s=6,
    )
    assert_detected(
        "one block silently corrupted during the outage",
        measured,
        by="data intact",
        fails=f"torn at offset {hit[0] * block}",
    )


def test_acknowledged_blocks_that_are_blank(testbed: Testbed, seed: int) -> None:
    """A fifth of the area is blanked behind fio's back after its last write."""
    area, block = testbed.layout.write_area, testbed.config.workload.block_size
    first, count = area.offset // block, area.size // block // 5
    _assert_wrong_afterwards(
        testbed,
        seed,
        "acknowledged blocks blanked after the last write",
        f"dd if=/dev/zero of={{device}} oflag=direct bs={block} seek={first} count={count}",
        says=" blank): blank at offset ",
    )


def test_a_write_that_went_to_another_block(testbed: Testbed, seed: int) -> None:
    """One block is what was written to its neighbour."""
    block = testbed.config.workload.block_size

    def misdirect() -> str:
        one, other = _written(testbed, 2)
        return (
            f"dd if={{device}} of={{device}} iflag=direct oflag=direct bs={block} count=1 "
            f"skip={one} seek={other}"
        )

    _assert_wrong_afterwards(
        testbed,
        seed,
        "a write that went to another block",
        misdirect,
        says="(1 misdirected)",
    )


def test_writes_that_arrive_a_second_time(testbed: Testbed, seed: int) -> None:
    """Blocks are put back to what they were some seconds ago, when newer ones had been written."""
    area, block = testbed.layout.hot_area, testbed.config.workload.block_size
    part = f"bs={block} count={area.size // block // 4}"
    first = area.offset // block
    save = f"dd if={{device}} of=/run/planted iflag=direct {part} skip={first}"
    replay = f"dd if=/run/planted of={{device}} oflag=direct {part} seek={first}"
    _assert_wrong_afterwards(
        testbed,
        seed,
        "writes that arrive a second time, after newer ones",
        replay,
        amid=save,
        says=" lost",
    )


def _assert_wrong_afterwards(
    testbed: Testbed,
    seed: int,
    plant: str,
    damage: str | Callable[[], str],
    *,
    says: str,
    amid: str = "true",
) -> None:
    """Run commands on the initiator amid the I/O, and after the last write; {device} is the map."""

    def on_initiator(command: str) -> None:
        testbed.machine(Role.INITIATOR).sh(command.format(device=testbed.map.device))

    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=3)
        on_initiator(amid)
        io.run_for(seconds=4)
        io.before_read_back(lambda: on_initiator(damage if isinstance(damage, str) else damage()))
    assert_detected(
        plant,
        io.measurements,
        by="data intact",
        fails=says,
    )


def _written(testbed: Testbed, wanted: int) -> list[int]:
    """The numbers of the first so many blocks that fio has written to."""
    block, area = testbed.config.workload.block_size, testbed.layout.write_area
    argv = ["python3", "-c", _WRITTEN, testbed.map.device]
    argv += [str(n) for n in (block, area.offset // block, area.size // block, wanted)]
    return [int(n) for n in testbed.machine(Role.INITIATOR).run(argv).stdout.split()]


def test_acknowledged_writes_lost_with_a_volatile_cache(testbed: Testbed, seed: int) -> None:
    """The target acknowledges from memory, saves some of it, and is reset after the last write."""
    cached = render(serving(testbed.config.target, testbed.topology))
    cached["storage_objects"][0]["write_back"] = True
    _serve(testbed, cached)
    _come_back_after_a_reset(testbed)
    writes, *_ = testbed.layout.mixed(seed)
    with testbed.io([writes]) as io:
        io.wait_until_running()
        io.run_for(seconds=2)
        testbed.machine(Role.TARGET).run(["sync", BACKING_FILE])
        io.run_for(seconds=3)
        io.before_read_back(lambda: _reset(testbed))
    assert_detected(
        "acknowledged writes lost at a reset of the target, whose cache is volatile",
        io.measurements,
        by="data intact",
        fails=" blank): blank at offset ",
    )
    back = io.measurements.read_back
    assert back is not None
    assert len({finding.offset for finding in back.findings}) < back.acknowledged  # some were saved


def test_a_part_of_the_targets_disk_that_fails(testbed: Testbed, seed: int) -> None:
    """The device mapper on the target refuses every access to the middle of what is written.

    LIO says NOT READY then, as if it would pass, and I/O hangs until queueing is ended.
    """
    _serve(testbed, _lun_on_the_device_mapper(testbed))
    area = testbed.layout.write_area
    bad = range((area.offset + area.size // 2) // _SECTOR, (area.end - area.size // 4) // _SECTOR)
    size = testbed.topology.luns[0].size // _SECTOR
    table = (
        f"0 {bad.start} linear {_LOOP} 0\n"
        f"{bad.start} {len(bad)} error\n"
        f"{bad.stop} {size - bad.stop} linear {_LOOP} {bad.stop}\n"
    )
    target = testbed.machine(Role.TARGET)
    load = (
        f"dmsetup suspend --noflush {_MAPPED}; dmsetup reload {_MAPPED}; dmsetup resume {_MAPPED}"
    )
    measured = run_clean(testbed, seed, amid=lambda: target.sh(load, stdin=table.encode()))
    assert_detected(
        "medium errors on a part of the target's disk, which LIO calls NOT READY",
        measured,
        by="no I/O errors",
        fails="I/O hung, and failed once queueing was ended",
    )


def test_two_disks_behind_one_wwid(testbed: Testbed, seed: int) -> None:
    """All portals but the first serve another file under the same serial."""
    if len(testbed.topology.portals) < 2:
        pytest.skip("needs two portals")
    _serve(testbed, _two_disks(testbed))
    measured = run_clean(testbed, seed)
    assert_detected(
        "two disks behind one WWID, one per path",
        measured,
        by="data intact",
        fails="blank at offset ",
    )
    assert measured.read_back is not None
    places = {finding.place for finding in measured.read_back.findings}
    assert places & {path.path for path in testbed.map.paths}  # a path has not what the map has


def _serve(testbed: Testbed, configuration: dict[str, Any]) -> None:
    """Have LIO serve something else; sessions are lost, and come back by themselves."""
    testbed.broken = "its target was reconfigured on purpose"
    target = testbed.machine(Role.TARGET)
    target.write_files({SAVED: json.dumps(configuration)}, mode=0o600)
    target.sh(f"targetctl restore {SAVED}")
    with suppress(CutShort):  # one may be back before the other is lost
        testbed.map.wait_for_paths(active=0, failed=len(testbed.topology.paths), timeout_s=10)
    testbed.preflight()
    testbed.map.wait_for_paths(active=len(testbed.topology.paths))


def _come_back_after_a_reset(testbed: Testbed) -> None:
    """Have the target configure its NICs and LIO by itself when it boots."""
    nics = render_script(testbed.topology.nics(Role.TARGET), addressed=True)
    start = f"{nics}\ntargetctl restore {SAVED}\n"
    unit = (
        "[Unit]\nAfter=local-fs.target systemd-udev-settle.service pathproof-network.service\n"
        f"[Service]\nType=oneshot\nExecStart=/bin/sh {_START}\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    target = testbed.machine(Role.TARGET)
    target.write_files({_START: start, "/etc/systemd/system/planted.service": unit})
    target.sh("systemctl enable planted.service; sync", timeout_s=60)


def _reset(testbed: Testbed) -> None:
    """Reset the target, and wait until all paths have been lost and are back."""
    everything = len(testbed.topology.paths)
    testbed.domain(Role.TARGET).reset()
    testbed.map.wait_for_paths(active=0, failed=everything)
    testbed.map.wait_for_paths(active=everything)


def _lun_on_the_device_mapper(testbed: Testbed) -> dict[str, Any]:
    """The same backing file, with the device mapper in between."""
    size = testbed.topology.luns[0].size // _SECTOR
    testbed.machine(Role.TARGET).sh(
        f"modprobe loop; modprobe dm-mod; losetup {_LOOP} {BACKING_FILE}\n"
        f"echo 0 {size} linear {_LOOP} 0 | dmsetup create {_MAPPED}"
    )
    config = testbed.config.target.model_copy(update={"backstore": "block"})
    configuration = render(serving(config, testbed.topology))
    configuration["storage_objects"][0]["dev"] = f"/dev/mapper/{_MAPPED}"
    return configuration


def _two_disks(testbed: Testbed) -> dict[str, Any]:
    configuration = render(serving(testbed.config.target, testbed.topology))
    other = f"{BACKING_FILE}.other"
    testbed.machine(Role.TARGET).sh(f"truncate -s {testbed.topology.luns[0].size} {other}")
    (disk,) = configuration["storage_objects"]
    configuration["storage_objects"] += [disk | {"name": "lun1", "dev": other}]
    (target,) = configuration["targets"]
    group = target["tpgs"][0]
    first, *others = (portal for one in target["tpgs"] for portal in one["portals"])
    lun = {"index": 0, "storage_object": "/backstores/fileio/lun1"}
    target["tpgs"] = [
        group | {"portals": [first]},
        group | {"tag": 2, "portals": others, "luns": [lun]},
    ]
    return configuration
