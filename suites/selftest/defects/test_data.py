"""Planted damage to data: what was acknowledged is not there, or another disk answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from harness.checks import Verdict, promise_kept, undisturbed
from harness.faults import SilentDrop
from harness.target.lio import BACKING_FILE, SAVED, LioTarget, render
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.plants import assert_detected, lose_a_path, run_clean

# Prints the number of the first block of an area that holds one of fio's headers (verify.h).
_FIRST_WRITTEN = """
import mmap, os, sys
device, block, first, count = sys.argv[1], *map(int, sys.argv[2:])
fd, buffer = os.open(device, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, block)
for number in range(first, first + count):
    os.preadv(fd, [buffer], number * block)
    if buffer[:2] == b"\\xca\\xac":
        print(number)
        break
"""


def test_one_block_corrupted_during_the_outage(testbed: Testbed, seed: int) -> None:
    """The target alters a block in its backing file, after the last write to it."""
    block, area = testbed.config.workload.block_size, testbed.layout.write_area
    writes, *others = testbed.layout.mixed(seed)
    initiator, target = testbed.machine(Role.INITIATOR), testbed.machine(Role.TARGET)

    def corrupt() -> None:
        argv = ["python3", "-c", _FIRST_WRITTEN, testbed.initiator.device]
        argv += [str(n) for n in (block, area.offset // block, area.size // block)]
        number = initiator.run(argv).stdout.strip()
        target.sh(
            f"dd if=/dev/urandom of={BACKING_FILE} bs=512 count=1 conv=notrunc "
            f"seek=$(({number} * {block} / 512 + 5))"
        )

    measured = lose_a_path(
        testbed,
        seed,
        SilentDrop("a"),
        jobs=(replace(writes, seconds=5), *others),  # over by then, so that nothing mends it
        during=corrupt,
        during_s=6,
    )
    assert_detected(
        "one block silently corrupted during the outage",
        measured,
        promise_kept(),
        verdict=Verdict.FAIL,
        by="data intact",
        says="torn",
    )


def test_acknowledged_blocks_that_are_blank(testbed: Testbed, seed: int) -> None:
    """A fifth of the area is blanked behind fio's back after its last write."""
    area, block = testbed.layout.write_area, testbed.config.workload.block_size
    blank = f"dd if=/dev/zero of={testbed.initiator.device} oflag=direct bs={block}"
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=4)
        io.before_read_back(
            lambda: testbed.machine(Role.INITIATOR).sh(
                f"{blank} seek={area.offset // block} count={area.size // block // 5}"
            )
        )
    assert_detected(
        "acknowledged blocks blanked after the last write",
        io.measurements,
        undisturbed(testbed.config.budget.slack_s),
        verdict=Verdict.FAIL,
        by="data intact",
        says="blank",
    )


def test_two_disks_behind_one_wwid(testbed: Testbed, seed: int) -> None:
    """The second portal serves another file under the same serial."""
    with _reconfigured(testbed, _two_disks(testbed)):
        measured = run_clean(testbed, seed)
    assert_detected(
        "two disks behind one WWID, one per path",
        measured,
        undisturbed(testbed.config.budget.slack_s),
        verdict=Verdict.FAIL,
        by="data intact",
        says="sd",
    )


@contextmanager
def _reconfigured(testbed: Testbed, configuration: dict[str, Any]) -> Iterator[None]:
    """LIO with another configuration; sessions come back by themselves."""
    testbed.broken = "its target was reconfigured on purpose"
    target = testbed.machine(Role.TARGET)
    plain = json.dumps(render(testbed.topology, "fileio"))
    try:
        _restore(testbed, configuration)
        yield
    finally:
        target.write_files({SAVED: plain}, mode=0o600)
        target.sh(f"targetctl restore {SAVED}")


def _restore(testbed: Testbed, configuration: dict[str, Any]) -> None:
    assert isinstance(testbed.target, LioTarget)
    target = testbed.machine(Role.TARGET)
    target.write_files({SAVED: json.dumps(configuration)}, mode=0o600)
    target.sh(f"targetctl restore {SAVED}")
    testbed.map.wait_for_paths(active=len(testbed.fabrics()))


def _two_disks(testbed: Testbed) -> dict[str, Any]:
    configuration = render(testbed.topology, "fileio")
    other = f"{BACKING_FILE}.other"
    testbed.machine(Role.TARGET).sh(f"truncate -s {testbed.topology.lun.size} {other}")
    (disk,) = configuration["storage_objects"]
    configuration["storage_objects"] += [disk | {"name": "lun1", "dev": other}]
    (target,) = configuration["targets"]
    (group,) = target["tpgs"]
    first, second = group["portals"]
    lun = {"index": 0, "storage_object": "/backstores/fileio/lun1"}
    target["tpgs"] = [
        group | {"portals": [first]},
        group | {"tag": 2, "portals": [second], "luns": [lun]},
    ]
    return configuration
