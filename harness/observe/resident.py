"""The program that watches from inside a machine.

It runs there by itself: Python 3.6, no imports but the standard library, nothing written to
disk; it ends when its standard input does. Given the path of a UNIX socket it stays instead,
and serves whoever connects, one after another: so it can be saved together with its machine.

It prints one JSON object a line. Samples are held back for a second and printed together, or with
whatever else is printed: each print wakes the programs on its way to the reader, on the very
processor whose I/O is measured. Times are CLOCK_MONOTONIC of the machine, in nanoseconds:

    {"hello": 1}                                                     once, when it is ready
    {"kernel": [seq, level, time, text], "error": 1500}              one record of /dev/kmsg;
                                                                     `error` bounds the time's
    {"lost": 3}                                                      records overwritten unseen
    {"sample": time, "disks": {"sdb": ["  100  0  800 ...", "running"]},    its stat and state
     "dm": "2 0 0 0 1 1 A 0 2 2 8:16 A 0 ...", "map": "253:0",   the map's status and number
     "where": {"8:16": ["sdb", "1", "172.16.0.1:3260"]},         its disks: name, number of the
                                                                     iSCSI session and its portal,
                                                                     both "" if there is none; only
                                                                     with the first sample of those
                                                                     printed together
     "carriers": {"eth1": "1"},
     "nics": {"eth1": "9216 64 0 0 ..."},                        its line of /proc/net/dev
     "changes": {"eth1": "2"},                                   how often its carrier changed
     "beats": {"eth1": 17},                                      frames this program sent there
     "ahead": 1795382272000000000, "cpu": 31000000}              CLOCK_REALTIME minus
                                                                     CLOCK_MONOTONIC; processor
                                                                     time this program has had;
                                                                     both by the first sample of
                                                                     those printed together
    {"pong": 17, "time": ...}                                        answer to {"ping": 17}

Commands, one JSON object a line on standard input: `{"ping": N}`, `{"mark": TEXT}` (written
into the kernel log), `{"watch": {"disks": [...], "map": NAME, "nics": [...], "cables": [...],
"every": TIME}}` (no samples before it; the map's disks are watched, too; into each of the cables,
by the names of their NICs, a small frame is sent before each sample), `{"rest": true}` (no samples
until it is false),
`{"hold": false}` (each sample at once until it is true), and `{"wake": [TIME, SEED]}`, for a
machine that was saved and is one of many copies now: sets the wall clock to TIME in nanoseconds and
stirs the hexadecimal SEED into the pool of randomness; answered by `{"awake": 1}`. And
`{"read": [DISKS, BYTES]}`: reads the beginning of each disk past every cache; answered by
`{"read": {DISK: digest or error text}}`, the digests good for comparing the disks of one answer.

Sources: Documentation/ABI/testing/dev-kmsg, random(4), rtnetlink(7), include/uapi/linux/dm-ioctl.h
in the kernel.
"""

import errno
import fcntl
import json
import mmap
import os
import re
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

HELD_NS = 1_000_000_000
LOG_USER = 1  # syslog(3): the facility of what is written into /dev/kmsg, as the marks are
RTMGRP_LINK = 1
EXPERIMENTAL_ETHERTYPE = 0x88B5  # IEEE 802, for local experiments
BROADCAST = b"\xff" * 6
SHORTEST_FRAME = 60  # bytes without the checksum

DM_TABLE_STATUS = (3 << 30) | (312 << 16) | (0xFD << 8) | 12
DM_NOFLUSH = 1 << 11  # without it, asking for the status would flush the very I/O being measured
DM_BUFFER_FULL = 1 << 8  # the status did not fit
RNDADDENTROPY = (1 << 30) | (8 << 16) | (ord("R") << 8) | 3
RNDRESEEDCRNG = (ord("R") << 8) | 7
DM_HEADER = struct.Struct("=3I3IiIIIQ128s129s7s")
DM_SPEC = struct.Struct("=QQiI16s")

SYSFS = "/sys"
DEVICE_NUMBER = re.compile(r"\b\d+:\d+\b")
SESSION = re.compile(r"/session(\d+)/")


class Voice:
    """Prints messages, at once or together with the next that is."""

    def __init__(self) -> None:
        self.held: List[Callable[[], Dict[str, Any]]] = []
        self.encode = json.JSONEncoder(separators=(",", ":")).encode

    def say(self, message: Dict[str, Any]) -> None:
        self.held.append(lambda: message)
        self.flush()

    def flush(self) -> None:
        sys.stdout.write("".join(self.encode(message()) + "\n" for message in self.held))
        sys.stdout.flush()
        self.held.clear()


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


class KernelLog:
    """Follows /dev/kmsg from its end, and relates its clock to CLOCK_MONOTONIC."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.fd = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)
        self.expected: Optional[int] = None
        self.offset_ns = 0
        self.error_ns = 0
        self.pending: Optional[Tuple[str, int, int]] = None
        self.mark("pathproof: watching")

    def mark(self, text: str) -> None:
        before = now_ns()
        os.write(self.fd, text.encode() + b"\n")  # without it the record stays open, unread
        self.pending = (text, before, now_ns())

    def close(self) -> None:
        os.close(self.fd)

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
            self.voice.say({"lost": int(sequence) - self.expected})
        self.expected = int(sequence) + 1
        stamp_ns = int(stamp) * 1000
        if self.pending and text == self.pending[0]:
            _, before, after = self.pending
            self.offset_ns = (before + after) // 2 - stamp_ns
            self.error_ns = (after - before) // 2 + 1000
            self.pending = None
        if int(level) >> 3 > LOG_USER:
            return  # a program's words, which journald may forward; the kernel's own are 0
        self.voice.say(
            {
                "kernel": [int(sequence), int(level) & 7, stamp_ns + self.offset_ns, text],
                "error": self.error_ns,
            }
        )


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


def now_ns() -> int:
    return int(time.monotonic() * 1e9)  # time.monotonic_ns() came with Python 3.7


def wall_clock_ahead() -> int:
    before = now_ns()
    wall = int(time.time() * 1e9)
    return wall - (before + now_ns()) // 2


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


class Sampler:
    """Takes one sample of everything that is watched."""

    def __init__(self, voice: Voice, links: Links) -> None:
        self.voice = voice
        self.links = links
        self.disks: Dict[str, Tuple[Attribute, Attribute]] = {}
        self.counters = Attribute("/proc/net/dev")
        self.hearts: Dict[str, Heartbeat] = {}
        self.map: Optional[MapStatus] = None
        self.interval_ns = 0
        self.due_ns = 0
        self.resting = True
        self.holding = True
        self.held_since_ns = 0
        self.ahead_ns = 0
        self.cpu_ns = 0

    def watch(self, what: Dict[str, Any]) -> None:
        self.close()
        self.disks = {}
        self.follow(what["disks"])
        self.map = MapStatus(what["map"]) if what["map"] else None
        self.links.watch(what["nics"])
        self.hearts = {nic: Heartbeat(nic) for nic in what["cables"]}
        self.interval_ns = what["every"]
        self.due_ns = now_ns()
        self.resting = False

    def follow(self, disks: Iterable[str]) -> None:
        """Watch these disks from the next sample on, as well."""
        for name in disks:
            if name not in self.disks:
                self.disks[name] = (
                    Attribute("/sys/block/%s/stat" % name),
                    Attribute("/sys/block/%s/device/state" % name),
                )

    def close(self) -> None:
        for stat, state in self.disks.values():
            stat.close()
            state.close()
        self.counters.close()
        for heart in self.hearts.values():
            heart.close()
        if self.map:
            self.map.close()

    def pause_s(self) -> Optional[float]:
        """Until the next sample is due."""
        return None if self.resting else max(0, self.due_ns - now_ns()) / 1e9

    def sample(self) -> None:
        if self.resting or now_ns() < self.due_ns:
            return
        for heart in self.hearts.values():
            heart.beat()
        now = now_ns()
        nics = self.counters.read() if self.links.nics else b""  # first: the rest may take long
        links = self.links.read()
        self.due_ns = max(self.due_ns + self.interval_ns, now - self.interval_ns)
        held = self.voice.held
        if not held:
            self.held_since_ns = now
            self.ahead_ns = wall_clock_ahead()
            self.cpu_ns = int(time.process_time() * 1e9)
        names = tuple(self.disks)
        stats = [stat.read() for stat, _ in self.disks.values()]
        states = [state.read() for _, state in self.disks.values()]
        dm = self.map.read() if self.map else b""
        number = self.map.number if self.map else 0
        places = {} if held else where(decoded(dm))
        self.follow(place[0] for place in places.values())
        beats = {nic: heart.sent for nic, heart in self.hearts.items()}
        taken = Taken(
            *(now, stats, states, dm, number, places, links, nics, beats),
            *(self.ahead_ns, self.cpu_ns),
        )
        held.append(partial(told, names, tuple(self.links.nics), taken))
        if now >= self.held_since_ns + HELD_NS or not self.holding:
            self.voice.flush()


class Taken(NamedTuple):
    """A sample as it was read. What can be done later is: much is cheaper done at once."""

    at_ns: int
    stats: List[bytes]
    states: List[bytes]
    dm: bytes
    map: int
    where: Dict[str, List[str]]
    links: List[bytes]
    nics: bytes
    beats: Dict[str, int]
    ahead_ns: int
    cpu_ns: int


def told(names: Tuple[str, ...], nics: Tuple[str, ...], taken: Taken) -> Dict[str, Any]:
    """The message of a sample of those disks and NICs."""
    links = list(map(decoded, taken.links))
    texts = zip(map(decoded, taken.stats), map(decoded, taken.states))
    return {
        "sample": taken.at_ns,
        "disks": dict(zip(names, texts)),
        "dm": decoded(taken.dm),
        "map": "%d:%d" % (os.major(taken.map), os.minor(taken.map)) if taken.map else "",
        "where": taken.where,
        "carriers": dict(zip(nics, links)),
        "changes": dict(zip(nics, links[len(nics) :])),
        "nics": counted(taken.nics, nics),
        "beats": taken.beats,
        "ahead": taken.ahead_ns,
        "cpu": taken.cpu_ns,
    }


def where(status: str) -> Dict[str, List[str]]:
    """Of each disk in a map's status: its name, the number of its iSCSI session, and the portal."""
    found = {}
    for number in DEVICE_NUMBER.findall(status):
        with suppress(OSError):  # it is going away
            path = os.readlink("%s/dev/block/%s" % (SYSFS, number))
            match = SESSION.search(path)
            session = match.group(1) if match else ""
            found[number] = [path.rpartition("/")[2], session, portal(session)]
    return found


def portal(session: str) -> str:
    """Address and port of the portal that a session was made for, whatever it was sent on to."""
    found = []
    for name in ("address", "port"):
        path = "%s/class/iscsi_connection/connection%s:0/persistent_%s" % (SYSFS, session, name)
        file = Attribute(path)
        found.append(decoded(file.read()))
        file.close()
    return ":".join(found) if all(found) else ""


def counted(table: bytes, nics: Tuple[str, ...]) -> Dict[str, str]:
    """The counters of those NICs, from the text of /proc/net/dev."""
    lines = (line.partition(":") for line in decoded(table).splitlines())
    return {name.strip(): counts for name, _, counts in lines if name.strip() in nics}


def decoded(read: bytes) -> str:
    return read.decode(errors="replace").strip()


def wake(wall_ns: int, seed: bytes) -> None:
    time.clock_settime(time.CLOCK_REALTIME, wall_ns / 1e9)
    with open("/dev/urandom", "wb") as pool:
        counts = struct.pack("=ii", 8 * len(seed), len(seed))
        fcntl.ioctl(pool, RNDADDENTROPY, counts + seed)
        fcntl.ioctl(pool, RNDRESEEDCRNG)


def read_directly(disk: str, size: int) -> Union[int, str]:
    try:
        descriptor = os.open("/dev/" + disk, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, size) as aligned:
                if os.readv(descriptor, [aligned]) != size:
                    return "shorter than %d bytes" % size
                return hash(aligned[:])
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror or repr(error)


def obey(command: Dict[str, Any], voice: Voice, log: KernelLog, sampler: Sampler) -> None:
    if "ping" in command:
        voice.say({"pong": command["ping"], "time": now_ns()})
    elif "mark" in command:
        log.mark(command["mark"])
    elif "watch" in command:
        sampler.watch(command["watch"])
    elif "rest" in command:
        sampler.resting = command["rest"]
        voice.flush()
    elif "hold" in command:
        sampler.holding = command["hold"]
    elif "wake" in command:
        wall_ns, seed = command["wake"]
        wake(wall_ns, bytes.fromhex(seed))
        voice.say({"awake": 1})
    elif "read" in command:
        disks, size = command["read"]
        voice.say({"read": {disk: read_directly(disk, size) for disk in disks}})


def watch() -> None:
    voice = Voice()
    log = KernelLog(voice)
    links = Links()
    sampler = Sampler(voice, links)
    voice.say({"hello": 1})
    try:
        listen(voice, log, sampler)
    finally:
        log.close()
        links.close()
        sampler.close()


def listen(voice: Voice, log: KernelLog, sampler: Sampler) -> None:
    links = sampler.links
    commands = b""
    while True:
        ready = select.select([0, log.fd, links.fd], [], [], sampler.pause_s())[0]
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, commands = (commands + data).split(b"\n")
            for line in lines:
                obey(json.loads(line), voice, log, sampler)
        if log.fd in ready:
            log.drain()
        if links.fd in ready:
            links.drain()
            sampler.due_ns = now_ns()
        sampler.sample()


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
