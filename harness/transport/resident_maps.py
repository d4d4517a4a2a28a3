"""A part of the resident program: maps of dm-multipath, and the iSCSI sessions of their disks.

It takes the place of `harness.observe.resident.maps`. Source: include/uapi/linux/dm-ioctl.h in the
kernel.
"""

import fcntl
import os
import re
import struct
from contextlib import suppress
from typing import Dict, List

from harness.observe.resident.devices import Attribute, decoded

DM_TABLE_STATUS = (3 << 30) | (312 << 16) | (0xFD << 8) | 12
DM_NOFLUSH = 1 << 11  # without it, asking for the status would flush the very I/O being measured
DM_BUFFER_FULL = 1 << 8  # the status did not fit
DM_HEADER = struct.Struct("=3I3IiIIIQ128s129s7s")
DM_SPEC = struct.Struct("=QQiI16s")

SYSFS = "/sys"
DEVICE_NUMBER = re.compile(r"\b\d+:\d+\b")
SESSION = re.compile(r"/session(\d+)/")


class WatchedMap:
    """Asks the device mapper for a map's status line and number, by ioctl."""

    def __init__(self, name: str) -> None:
        self.fd = os.open("/dev/mapper/control", os.O_RDWR)
        self.name = name.encode()
        self.number = 0
        self.make_room(2048)

    def make_room(self, size: int) -> None:
        self.buffer = bytearray(size)
        version, counts = (4, 0, 0), (0, 0)
        self.request = DM_HEADER.pack(
            *version, size, DM_HEADER.size, *counts, DM_NOFLUSH, 0, 0, 0, self.name, b"", b""
        )

    def read(self) -> bytes:
        buffer = self.buffer
        buffer[: DM_HEADER.size] = self.request
        try:
            fcntl.ioctl(self.fd, DM_TABLE_STATUS, buffer)
        except OSError:
            self.number = 0
            return b""  # no such map (any more)
        header = DM_HEADER.unpack_from(buffer)
        if header[7] & DM_BUFFER_FULL:
            self.make_room(2 * len(buffer))
            return self.read()
        self.number = header[10]
        start = struct.unpack_from("=I", buffer, 16)[0] + DM_SPEC.size
        return bytes(buffer[start : buffer.index(0, start)])

    def close(self) -> None:
        os.close(self.fd)


def where(status: str) -> Dict[str, List[str]]:
    """Name, number of the iSCSI session, and origin of each disk in a map's status."""
    found = {}
    for number in DEVICE_NUMBER.findall(status):
        with suppress(OSError):  # it is going away
            path = os.readlink("%s/dev/block/%s" % (SYSFS, number))
            match = SESSION.search(path)
            session = match.group(1) if match else ""
            found[number] = [path.rpartition("/")[2], session, origin(session)]
    return found


def origin(session: str) -> str:
    """The portal that a session was made for, whatever it was sent on to, and by which interface.

    As "172.16.0.1:3260,default".
    """
    connection = "iscsi_connection/connection%s:0/persistent_" % session
    interface = "iscsi_session/session%s/ifacename" % session
    found = []
    for name in (connection + "address", connection + "port", interface):
        file = Attribute("%s/class/%s" % (SYSFS, name))
        found.append(decoded(file.read()))
        file.close()
    return "%s:%s,%s" % tuple(found) if all(found) else ""
