"""What iscsi_trgt serves, and to whom: /proc/net/iet/volume and /proc/net/iet/session.

Both list the newest target first; tabs indent. Source: volume.c, session.c and conn.c of IET.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness.errors import TargetError

VOLUMES = "/proc/net/iet/volume"
SESSIONS = "/proc/net/iet/session"

_TARGET = re.compile(r"tid:(\d+) name:(.+)")
_VOLUME = re.compile(
    r"\tlun:(\d+) state:(\w+) iotype:(\w+) iomode:(\w+)"
    r"(?: blocks:(\d+) blocksize:(\d+))?(?: path:(.+))?"
)
_SESSION = re.compile(r"\tsid:(\d+) initiator:(.+)")
_CONNECTION = re.compile(r"\t\tcid:(\d+) ip:(\S+) state:(\w+) hd:(\w+) dd:(\w+)")


@dataclass(frozen=True)
class Volume:
    """A LUN that is served. `blocks` and `block_size` are None up to IET 1.4.19."""

    lun: int
    io_type: str
    io_mode: str
    blocks: int | None
    block_size: int | None
    path: str | None

    @property
    def size(self) -> int | None:
        """The size in bytes; None if it is not shown."""
        if self.blocks is None or self.block_size is None:
            return None
        return self.blocks * self.block_size


@dataclass(frozen=True)
class ServedTarget:
    """A target that is served, by the number that ietadm wants."""

    tid: int
    name: str
    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class Connection:
    """A TCP connection, from the initiator's `address`; digests are "none" or "crc32c"."""

    cid: int
    address: str
    state: str
    header_digest: str
    data_digest: str


@dataclass(frozen=True)
class Session:
    """A session with a target; `sid` repeats after a restart of ietd."""

    target: str
    tid: int
    sid: int
    initiator: str
    connections: tuple[Connection, ...]


def parse_volumes(text: str) -> list[ServedTarget]:
    r"""Targets and their LUNs. Raises TargetError for a line that it can't read.

    tid:1 name:iqn.2001-04.com.example:disk0
    \tlun:0 state:0 iotype:fileio iomode:wt blocks:131072 blocksize:512 path:/srv/f0.img
    """
    return [
        ServedTarget(tid, name, tuple(_volume(line) for line in lines))
        for tid, name, lines in _targets(text)
    ]


def parse_sessions(text: str) -> list[Session]:
    r"""Sessions of all targets. Raises TargetError for a line that it can't read.

    tid:1 name:iqn.2001-04.com.example:disk0
    \tsid:846623957385728 initiator:iqn.1993-08.org.debian:01:ff9f1e21a513
    \t\tcid:0 ip:10.77.2.2 state:active hd:none dd:none
    """
    sessions: list[Session] = []
    for tid, name, lines in _targets(text):
        found: list[tuple[re.Match[str], list[Connection]]] = []
        for line in lines:
            if match := _SESSION.fullmatch(line):
                found.append((match, []))
            elif (match := _CONNECTION.fullmatch(line)) and found:
                found[-1][1].append(Connection(int(match[1]), *match.group(2, 3, 4, 5)))
            else:
                raise _unreadable(line)
        sessions += [Session(name, tid, int(m[1]), m[2], tuple(each)) for m, each in found]
    return sessions


def _targets(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Number and name of each target, with the indented lines below."""
    for block in re.split(r"^(?=tid:)", text, flags=re.MULTILINE):
        if not block:
            continue
        head, *lines = block.splitlines()
        match = _TARGET.fullmatch(head)
        if match is None:
            raise _unreadable(head)
        yield int(match[1]), match[2], lines


def _volume(line: str) -> Volume:
    match = _VOLUME.fullmatch(line)
    if match is None:
        raise _unreadable(line)
    lun, _, io_type, io_mode, blocks, block_size, path = match.groups()
    return Volume(
        lun=int(lun),
        io_type=io_type,
        io_mode=io_mode,
        blocks=int(blocks) if blocks else None,
        block_size=int(block_size) if block_size else None,
        path=path,
    )


def _unreadable(line: str) -> TargetError:
    return TargetError(f"not a line of /proc/net/iet: {line!r}")
