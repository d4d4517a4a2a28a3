"""The program that watches from inside a machine.

It runs there by itself: Python 3.7, no imports but the standard library, nothing written to
disk; it ends when its standard input does. Given the path of a UNIX socket it stays instead,
and serves whoever connects, one after another: so it can be saved together with its machine.

It prints one JSON object a line. Times are CLOCK_MONOTONIC of the machine, in nanoseconds:

    {"hello": 1}                                                     once, when it is ready
    {"kernel": [seq, level, time, text], "error": 1500}              one record of /dev/kmsg;
                                                                     `error` bounds the time's
    {"lost": 3}                                                      records overwritten unseen
    {"sample": time, "disks": {"sdb": [bytes read, bytes written, "running"]},
     "dm": "2 0 0 0 1 1 A 0 2 2 8:16 A 0 ...", "carriers": {"eth1": 1},
     "ahead": 1795382272000000000, "cpu": 31000000}              CLOCK_REALTIME minus
                                                                     CLOCK_MONOTONIC; processor
                                                                     time this program has had
    {"pong": 17, "time": ...}                                        answer to {"ping": 17}

Commands, one JSON object a line on standard input: `{"ping": N}`, `{"mark": TEXT}` (written
into the kernel log), `{"watch": {"disks": [...], "map": NAME, "nics": [...]}}`,
`{"rest": true}` (no samples until it is false), and
`{"wake": [TIME, SEED]}`, for a machine that was saved and is one of many copies now: sets the
wall clock to TIME in nanoseconds and stirs the hexadecimal SEED into the pool of randomness;
answered by `{"awake": 1}`. And `{"read": [DISKS, BYTES]}`: reads the beginning of each disk past
every cache; answered by `{"read": {DISK: digest or error text}}`, the digests good for
comparing the disks of one answer.

Sources: Documentation/ABI/testing/dev-kmsg, Documentation/block/stat.rst, random(4),
include/uapi/linux/dm-ioctl.h in the kernel.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any

SAMPLE_INTERVAL_NS = 80_000_000  # 12.5 a second: above the 10 that are promised, under load too
SECTOR = 512  # the unit of /sys/block/*/stat, whatever the device's block size

DM_TABLE_STATUS = (3 << 30) | (312 << 16) | (0xFD << 8) | 12
DM_NOFLUSH = 1 << 11  # without it, asking for the status would flush the very I/O being measured
DM_BUFFER = 16384
RNDADDENTROPY = (1 << 30) | (8 << 16) | (ord("R") << 8) | 3
RNDRESEEDCRNG = (ord("R") << 8) | 7
DM_HEADER = struct.Struct("=3I3IiIIIQ128s129s7s")
DM_SPEC = struct.Struct("=QQiI16s")


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


class KernelLog:
    """Follows /dev/kmsg from its end, and relates its clock to CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self.fd = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)
        self.expected: int | None = None
        self.offset_ns = 0
        self.error_ns = 0
        self.pending: tuple[str, int, int] | None = None
        self.mark("pathproof: watching")

    def mark(self, text: str) -> None:
        before = time.monotonic_ns()
        os.write(self.fd, text.encode() + b"\n")  # without it the record stays open, unread
        self.pending = (text, before, time.monotonic_ns())

    def drain(self) -> None:
        while True:
            try:
                record = os.read(self.fd, 8192)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EPIPE:
                    continue  # overwritten before it was read; the sequence numbers tell how many
                raise
            self.tell(record.decode(errors="replace"))

    def tell(self, record: str) -> None:
        head, _, text = record.partition(";")
        level, sequence, stamp = head.split(",")[:3]
        text = text.split("\n")[0]
        if self.expected is not None and int(sequence) > self.expected:
            say({"lost": int(sequence) - self.expected})
        self.expected = int(sequence) + 1
        stamp_ns = int(stamp) * 1000
        if self.pending and text == self.pending[0]:
            _, before, after = self.pending
            self.offset_ns = (before + after) // 2 - stamp_ns
            self.error_ns = (after - before) // 2 + 1000
            self.pending = None
        say(
            {
                "kernel": [int(sequence), int(level) & 7, stamp_ns + self.offset_ns, text],
                "error": self.error_ns,
            }
        )


class MapStatus:
    """Asks the device mapper for a map's status line, by ioctl."""

    def __init__(self, name: str) -> None:
        self.fd = os.open("/dev/mapper/control", os.O_RDWR)
        self.name = name.encode()

    def line(self) -> str:
        buffer = bytearray(DM_BUFFER)
        DM_HEADER.pack_into(
            buffer,
            0,
            *(4, 0, 0),  # version of the interface
            DM_BUFFER,
            DM_HEADER.size,
            *(0, 0),
            DM_NOFLUSH,
            *(0, 0, 0),
            self.name,
            b"",
            b"",
        )
        try:
            fcntl.ioctl(self.fd, DM_TABLE_STATUS, buffer)
        except OSError:
            return ""  # no such map (any more)
        start = struct.unpack_from("=I", buffer, 16)[0] + DM_SPEC.size
        return bytes(buffer[start : buffer.index(0, start)]).decode(errors="replace").strip()


def wall_clock_ahead() -> int:
    before = time.monotonic_ns()
    wall = time.time_ns()
    return wall - (before + time.monotonic_ns()) // 2


class Sampler:
    """Takes one sample of everything that is watched."""

    def __init__(self) -> None:
        self.disks: list[str] = []
        self.nics: list[str] = []
        self.map: MapStatus | None = None
        self.resting = False

    def watch(self, what: dict[str, Any]) -> None:
        self.disks = what.get("disks", [])
        self.nics = what.get("nics", [])
        self.map = MapStatus(what["map"]) if what.get("map") else None

    def sample(self) -> None:
        now = time.monotonic_ns()
        disks = {}
        for name in self.disks:
            counts = read("/sys/block/%s/stat" % name).split()
            if counts:
                state = read("/sys/block/%s/device/state" % name)
                disks[name] = [int(counts[2]) * SECTOR, int(counts[6]) * SECTOR, state]
        say(
            {
                "sample": now,
                "disks": disks,
                "dm": self.map.line() if self.map else "",
                "carriers": {
                    nic: int(read("/sys/class/net/%s/carrier" % nic) or 0) for nic in self.nics
                },
                "ahead": wall_clock_ahead(),
                "cpu": time.process_time_ns(),
            }
        )


def wake(now_ns: int, seed: bytes) -> None:
    time.clock_settime_ns(time.CLOCK_REALTIME, now_ns)
    with open("/dev/urandom", "wb") as pool:
        counts = struct.pack("=ii", 8 * len(seed), len(seed))
        fcntl.ioctl(pool, RNDADDENTROPY, counts + seed)
        fcntl.ioctl(pool, RNDRESEEDCRNG)


def read_directly(disk: str, size: int) -> int | str:
    try:
        descriptor = os.open("/dev/" + disk, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, size) as aligned:
                if os.preadv(descriptor, [aligned], 0) != size:
                    return "shorter than %d bytes" % size
                return hash(aligned[:])
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror or repr(error)


def obey(command: dict[str, Any], log: KernelLog, sampler: Sampler) -> None:
    if "ping" in command:
        say({"pong": command["ping"], "time": time.monotonic_ns()})
    elif "mark" in command:
        log.mark(command["mark"])
    elif "watch" in command:
        sampler.watch(command["watch"])
    elif "rest" in command:
        sampler.resting = command["rest"]
    elif "wake" in command:
        now_ns, seed = command["wake"]
        wake(now_ns, bytes.fromhex(seed))
        say({"awake": 1})
    elif "read" in command:
        disks, size = command["read"]
        say({"read": {disk: read_directly(disk, size) for disk in disks}})


def watch() -> None:
    log = KernelLog()
    sampler = Sampler()
    say({"hello": 1})
    commands = b""
    due = time.monotonic_ns()
    while True:
        pause = None if sampler.resting else max(0, due - time.monotonic_ns()) / 1e9
        ready = select.select([0, log.fd], [], [], pause)[0]
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                os.close(log.fd)
                return
            *lines, commands = (commands + data).split(b"\n")
            for line in lines:
                obey(json.loads(line), log, sampler)
        log.drain()
        if not sampler.resting and time.monotonic_ns() >= due:
            sampler.sample()
            due = max(due + SAMPLE_INTERVAL_NS, time.monotonic_ns())


def serve(path: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    while True:
        connection = listener.accept()[0]
        for descriptor in (0, 1):
            os.dup2(connection.fileno(), descriptor)
        connection.close()
        # A new one, with nothing unsent of the last connection.
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # the descriptor stays
        with suppress(OSError):  # whoever was connected has gone away
            watch()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        watch()
