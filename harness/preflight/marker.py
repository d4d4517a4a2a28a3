"""The block that says that Pathproof may write to a LUN: its first 4 KiB; pure.

    offset  bytes
         0     64  what it is, for whoever looks at the disk: MAGIC, padded with zeros
        64      4  version
        68     16  UUID of this marking (RFC 4122), another one every time it is written
        84      8  size of the LUN in bytes
        92    256  WWID of the LUN, padded with zeros
       348   3716  zeros
      4064     32  SHA-256 of all that precedes it

It lies where boot sectors, partition tables and most file systems begin, so whoever puts one of
these on the LUN takes the mark away. Integers are little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from uuid import UUID

SIZE = 4096
MAGIC = b"Pathproof: a LUN for tests; all that is on it will be lost\n"
VERSION = 1

_HEAD = struct.Struct("<64sI16sQ256s")
_DIGEST_AT = SIZE - hashlib.sha256().digest_size


@dataclass(frozen=True)
class Marker:
    """What the marker of a LUN says: `mark` is unique to this marking, `size` in bytes."""

    mark: UUID
    wwid: str
    size: int


class NoMarker(ValueError):
    """What is there instead of a marker."""


def pack(marker: Marker) -> bytes:
    """The block that `unpack` understands."""
    head = _HEAD.pack(MAGIC, VERSION, marker.mark.bytes, marker.size, marker.wwid.encode())
    body = head.ljust(_DIGEST_AT, b"\0")
    return body + hashlib.sha256(body).digest()


def unpack(block: bytes) -> Marker:
    """The marker in the first SIZE bytes of a LUN. Raises NoMarker with the reason."""
    if len(block) != SIZE:
        raise NoMarker(f"{len(block)} bytes where a marker has {SIZE}")
    if not any(block):
        raise NoMarker("no marker, but zeros")
    magic, version, mark, size, wwid = _HEAD.unpack_from(block)
    if magic.rstrip(b"\0") != MAGIC:
        raise NoMarker("no marker, but other data")
    if hashlib.sha256(block[:_DIGEST_AT]).digest() != block[_DIGEST_AT:]:
        raise NoMarker("a damaged marker")
    if version != VERSION:
        raise NoMarker(f"a marker of version {version}, where {VERSION} is known")
    return Marker(UUID(bytes=mark), wwid.rstrip(b"\0").decode(errors="replace"), size)


def write_argv(file: str) -> list[str]:
    """Writes standard input to the beginning of a file or disk that exists, past every cache."""
    return [
        *("dd", f"of={file}", f"bs={SIZE}", "count=1"),
        *("iflag=fullblock", "oflag=direct", "conv=nocreat,notrunc,fsync", "status=none"),
    ]


def read_argv(file: str) -> list[str]:
    """Prints what `write_argv` wrote."""
    return ["dd", f"if={file}", f"bs={SIZE}", "count=1", "iflag=direct", "status=none"]
