"""What the resident program finds out about the disks of a map, beside its samples."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any, cast

import pytest

from harness.observe import MapDisk
from harness.observe.resident import devices, sampling, voice
from harness.observe.sample import parse_sample
from harness.transport import resident_maps
from harness.transport.map_probe import MAPS
from suites.selftest import needs

BLOCKS = sorted(path for path in Path("/sys/block").glob("*") if (path / "dev").exists())
STATUS = "2 0 0 0 1 1 A 0 2 2 {} A 0 0 1 {} F 1 0 1"


class Map:
    """Stands in for the device mapper, which this host need not have."""

    name = b"lun"

    def __init__(self, status: str, number: int) -> None:
        self.status, self.number = status, number

    def read(self) -> bytes:
        return self.status.encode()

    def close(self) -> None:
        pass


def linked(sysfs: Path, number: str, device: str) -> None:
    """A block device of that number, as sysfs shows it."""
    (sysfs / "devices" / device).mkdir(parents=True)
    link = sysfs / "dev/block" / number
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"../../devices/{device}")


def test_a_disk_is_told_with_its_session_and_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a tree that is laid out as the kernel's: iSCSI, SAS, and one that went away."""
    linked(tmp_path, "8:16", "platform/host2/session11/target2:0:0/2:0:0:0/block/sdb")
    linked(tmp_path, "65:0", "pci0000:00/0000:00:17.0/host0/target0:0:0/0:0:0:0/block/sdq")
    connection = tmp_path / "class/iscsi_connection/connection11:0"
    connection.mkdir(parents=True)
    for name, value in (("address", "172.16.1.1"), ("port", "3260")):
        (connection / f"persistent_{name}").write_text(f"{value}\n")
    session = tmp_path / "class/iscsi_session/session11"
    session.mkdir(parents=True)
    (session / "ifacename").write_text("pathproof-b-nic2\n")
    monkeypatch.setattr(resident_maps, "SYSFS", str(tmp_path))
    assert resident_maps.where(f"{STATUS} 8:32 A 0 0 1".format("8:16", "65:0")) == {
        "8:16": ["sdb", "11", "172.16.1.1:3260,pathproof-b-nic2"],
        "65:0": ["sdq", "", ""],
    }


def test_a_maps_number_comes_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the header of struct dm_ioctl, as the kernel encodes it; none once there is no map."""
    status = STATUS.format("8:16", "65:0").encode()

    def answer(_: int, request: int, buffer: bytearray) -> None:
        assert request == resident_maps.DM_TABLE_STATUS
        header = resident_maps.DM_HEADER
        parts = list(header.unpack_from(buffer))
        parts[4], parts[10] = header.size, (300 & 0xFF) | (254 << 8) | ((300 & ~0xFF) << 12)
        header.pack_into(buffer, 0, *parts)
        start = header.size + resident_maps.DM_SPEC.size
        buffer[start : start + len(status) + 1] = status + b"\0"

    def refuse(*_: object) -> None:
        raise OSError(errno.ENXIO, "no such device")

    monkeypatch.setattr(os, "open", lambda *_: -1)
    monkeypatch.setattr(fcntl, "ioctl", answer)
    found = resident_maps.WatchedMap("a map")
    assert (found.read(), os.major(found.number), os.minor(found.number)) == (status, 254, 300)
    monkeypatch.setattr(fcntl, "ioctl", refuse)
    assert (found.read(), found.number) == (b"", 0)


@pytest.mark.skipif(len(BLOCKS) < 2, reason=needs.BLOCK_DEVICE)
def test_a_disk_that_joins_the_map_is_watched_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under whatever name it comes back; the others of this very host are passed over."""
    first, second = ((path / "dev").read_text().strip() for path in BLOCKS[:2])
    monkeypatch.setattr(sampling, "where", resident_maps.where)  # as when they are joined
    sampler = sampling.Sampler(voice.Voice(), devices.Links())
    sampler.watch({"disks": [BLOCKS[0].name], "maps": [], "nics": [], "cables": [], "every": 0})
    sampler.maps = [cast(Any, Map(STATUS.format(first, second), (254 << 8) | 7))]
    for _ in range(2):
        sampler.due_ns = 0
        sampler.sample()
    one, two = (parse_sample(message(), MAPS) for message in sampler.voice.held)
    names = [path.name for path in BLOCKS[:2]]
    assert (list(one.disks), list(two.disks)) == (names[:1], names)
    assert (one.map("lun").number, two.map("lun").number) == ("254:7", "254:7")
    disks = {first: MapDisk(names[0], "", ""), second: MapDisk(names[1], "", "")}
    assert (one.map("lun").disks, two.map("lun").disks) == (disks, {})
    assert one.map("lun").paths == {first: "active", second: "failed"}
    sampler.close()
    sampler.links.close()
