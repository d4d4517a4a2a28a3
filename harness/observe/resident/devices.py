"""What is asked in a sample: disks, the map, NICs and cables.

Sources: rtnetlink(7), packet(7), include/uapi/linux/dm-ioctl.h in the kernel.
"""

import fcntl
import os
import re
import socket
import struct
from contextlib import suppress
from typing import Dict, List

RTMGRP_LINK = 1
EXPERIMENTAL_ETHERTYPE = 0x88B5  # IEEE 802, for local experiments
BROADCAST = b"\xff" * 6
SHORTEST_FRAME = 60  # bytes without the checksum

DM_TABLE_STATUS = (3 << 30) | (312 << 16) | (0xFD << 8) | 12
DM_NOFLUSH = 1 << 11  # without it, asking for the status would flush the very I/O being measured
DM_BUFFER_FULL = 1 << 8  # the status did not fit
DM_HEADER = struct.Struct("=3I3IiIIIQ128s129s7s")
DM_SPEC = struct.Struct("=QQiI16s")

SYSFS = "/sys"
DEVICE_NUMBER = re.compile(r"\b\d+:\d+\b")
SESSION = re.compile(r"/session(\d+)/")


class Attribute:
    """A file of sysfs that is read again and again; empty while it is not there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def read(self) -> bytes:
        try:
            if self.fd < 0:
                self.fd = os.open(self.path, os.O_RDONLY)
            return os.pread(self.fd, 4096, 0)
        except OSError:
            self.close()  # the device is gone; another of the same name may come
            return b""

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class MapStatus:
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


class Links:
    """The carriers of NICs, read with each sample, and when the kernel says that one has changed.

    It says so at once of a carrier that comes, and only once a second of those that go
    (linkwatch_urgent_event in net/core/link_watch.c).
    """

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.socket.setblocking(False)
        self.socket.bind((0, RTMGRP_LINK))
        self.fd = self.socket.fileno()
        self.nics: List[str] = []
        self.files: List[Attribute] = []

    def watch(self, nics: List[str]) -> None:
        self.forget()
        self.nics = nics
        names = ("carrier", "carrier_changes")
        self.files = [Attribute("/sys/class/net/%s/%s" % (nic, n)) for n in names for nic in nics]

    def drain(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self.socket.recv(65536)

    def read(self) -> List[bytes]:
        """The carrier of each NIC, then how often each has changed."""
        return [file.read() for file in self.files]

    def forget(self) -> None:
        for file in self.files:
            file.close()

    def close(self) -> None:
        self.forget()
        self.socket.close()


class Heartbeat:
    """Sends small frames into one cable, so that it has something to carry at any time.

    Being bound to their type it also takes in those of the other end: as frames of a type that
    is not known the kernel would count them as dropped.
    """

    def __init__(self, nic: str) -> None:
        self.sent = 0
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # they are never read
        self.socket.bind((nic, EXPERIMENTAL_ETHERTYPE))
        header = (
            BROADCAST + self.socket.getsockname()[4] + struct.pack("!H", EXPERIMENTAL_ETHERTYPE)
        )
        self.frame = header.ljust(SHORTEST_FRAME, b"\0")

    def beat(self) -> None:
        with suppress(OSError):  # the cable is not plugged in
            self.socket.send(self.frame)
            self.sent += 1

    def close(self) -> None:
        self.socket.close()


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


def decoded(read: bytes) -> str:
    return read.decode(errors="replace").strip()
