"""What is asked in a sample: disks, NICs and cables.

Sources: rtnetlink(7), packet(7).
"""

import os
import socket
import struct
from contextlib import suppress
from typing import List

RTMGRP_LINK = 1
EXPERIMENTAL_ETHERTYPE = 0x88B5  # IEEE 802, for local experiments
BROADCAST = b"\xff" * 6
SHORTEST_FRAME = 60  # bytes without the checksum


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


def decoded(read: bytes) -> str:
    return read.decode(errors="replace").strip()
