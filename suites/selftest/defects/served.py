"""What LIO serves instead of what the testbed planned: other disks, or other portal groups."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from harness.errors import CutShort
from harness.target.base import backing_file
from harness.target.lio import SAVED, render, serving
from harness.testbed import Testbed
from harness.topology import Role
from harness.workload import Area

BACKING_FILE = backing_file("lun0")
OTHER = "other"
OTHER_FILE = f"{BACKING_FILE}.{OTHER}"
LOOP = "/dev/loop0"
_MAPPED = "planted"
_SECTOR = 512
_WRITTEN = 6  # sectors, by its place in /sys/block/*/stat


def serve(testbed: Testbed, configuration: dict[str, Any]) -> None:
    """Have LIO serve something else; sessions are lost, and come back by themselves."""
    testbed.broken = "its target was reconfigured on purpose"
    target = testbed.machine(Role.TARGET)
    target.write_files({SAVED: json.dumps(configuration)}, mode=0o600)
    target.sh(f"targetctl restore {SAVED}")
    with suppress(CutShort):  # one may be back before the other is lost
        testbed.map.wait_for_paths(active=0, failed=len(testbed.topology.paths), timeout_s=10)
    testbed.preflight()
    testbed.map.wait_for_paths(active=len(testbed.topology.paths))


def planned(testbed: Testbed) -> dict[str, Any]:
    """What LIO serves anyway."""
    return render(serving(testbed.config.target, testbed.topology))


def second_disk(testbed: Testbed, **changes: object) -> dict[str, Any]:
    """The same with a group for the first portal, another for the others, and a second disk.

    No group leads to that disk, whose file is new. But for the `changes` it is as the first.
    """
    configuration = planned(testbed)
    (disk,) = configuration["storage_objects"]
    other = disk | {"name": OTHER, "dev": OTHER_FILE} | changes
    testbed.machine(Role.TARGET).sh(f"truncate -s {other['size']} {OTHER_FILE}")
    configuration["storage_objects"] += [other]
    (target,) = configuration["targets"]
    group = target["tpgs"][0]
    first, *others = (portal for one in target["tpgs"] for portal in one["portals"])
    target["tpgs"] = [
        group | {"portals": [first]},
        group | {"tag": 2, "portals": others},
    ]
    return configuration


def on_the_device_mapper(testbed: Testbed) -> dict[str, Any]:
    """The same backing file, with the device mapper in between."""
    size = testbed.topology.luns[0].size // _SECTOR
    testbed.machine(Role.TARGET).sh(
        f"modprobe loop; modprobe dm-mod; losetup {LOOP} {BACKING_FILE}\n"
        f"echo 0 {size} linear {LOOP} 0 | dmsetup create {_MAPPED}"
    )
    config = testbed.config.target.model_copy(update={"backstore": "block"})
    configuration = render(serving(config, testbed.topology))
    configuration["storage_objects"][0]["dev"] = f"/dev/mapper/{_MAPPED}"
    return configuration


def change_mapping(testbed: Testbed, area: Area, mapping: str = f"linear {LOOP} {{first}}") -> str:
    """Map an area otherwise, as dmsetup(8) puts it; what the device mapper has by then.

    `mapping` may have the area's first sector in it. By default all is as it was.
    """
    first, count = area.offset // _SECTOR, area.size // _SECTOR
    size = testbed.topology.luns[0].size // _SECTOR
    after = first + count
    table = (
        f"0 {first} linear {LOOP} 0\n"
        f"{first} {count} {mapping.format(first=first)}\n"
        f"{after} {size - after} linear {LOOP} {after}\n"
    )
    load = (
        f"dmsetup suspend --noflush {_MAPPED}; dmsetup reload {_MAPPED}; dmsetup resume {_MAPPED}"
    )
    done = testbed.machine(Role.TARGET).sh(f"{load}; dmsetup table {_MAPPED}", stdin=table.encode())
    return done.stdout


def sectors_withheld(testbed: Testbed) -> int:
    """How many more sectors were written to the mapped device so far than to the disk below."""
    mapped = f"$(basename $(readlink -f /dev/mapper/{_MAPPED}))"
    disks = (mapped, LOOP.removeprefix("/dev/"))
    said = testbed.machine(Role.TARGET).sh(
        "; ".join(f"cat /sys/block/{disk}/stat" for disk in disks)
    )
    above, below = (int(line.split()[_WRITTEN]) for line in said.stdout.splitlines())
    return above - below
