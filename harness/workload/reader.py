"""Reads back what fio wrote, bypassing the page cache (O_DIRECT).

It runs on the initiator by itself: Python 3.7, no imports but the standard library.

    python3 reader.py DEVICE BLOCK_SIZE < OFFSETS

takes the blocks' offsets, ascending, one a line, and prints a line per block: `OFFSET PROBLEM
TIME`, where PROBLEM is `ok`, `blank` (all zero), `no-header`, `misdirected` (it says it belongs
elsewhere), `torn` (its checksum does not match), or `unreadable:ERRNO`; TIME is when fio wrote
it, in ns of CLOCK_MONOTONIC, or 0.

Source: struct verify_header and struct vhdr_md5 in fio's verify.h.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import sys
from typing import Iterable, Iterator

HEADER = struct.Struct("<HHIQQIIHHI")  # magic type len seed offset sec nsec thread numberio crc
MAGIC = 0xACCA
DIGEST_SIZE = 16
CHUNK = 1 << 20


def inspect(block: bytes, offset: int) -> tuple[str, int]:
    """The problem with one block, "ok" if none, and the time in its header."""
    magic, _, length, _, says, seconds, nanoseconds, _, _, _ = HEADER.unpack_from(block)
    if magic != MAGIC or length != len(block):
        return ("blank" if not any(block) else "no-header"), 0
    at_ns = seconds * 1000000000 + nanoseconds
    if says != offset:
        return "misdirected", at_ns
    start = HEADER.size + DIGEST_SIZE
    if hashlib.md5(block[start:]).digest() != block[HEADER.size : start]:
        return "torn", at_ns
    return "ok", at_ns


def stretches(offsets: Iterable[int], block_size: int) -> Iterator[tuple[int, int]]:
    """Runs of adjacent blocks, each as (offset, size) and no longer than CHUNK."""
    start = end = -1
    for offset in offsets:
        if offset != end or end - start >= CHUNK:
            if start >= 0:
                yield start, end - start
            start = offset
        end = offset + block_size
    if start >= 0:
        yield start, end - start


def main() -> None:
    device, block_size = sys.argv[1], int(sys.argv[2])
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, CHUNK + block_size)  # O_DIRECT wants page-aligned memory
    for start, size in stretches(map(int, sys.stdin), block_size):
        try:
            got, problem = os.preadv(fd, [memoryview(buffer)[:size]], start), "unreadable:short"
        except OSError as error:
            got, problem = 0, "unreadable:%d" % (error.errno or 0)
        for inside in range(0, size, block_size):
            block = buffer[inside : inside + block_size]
            found = inspect(block, start + inside) if inside + block_size <= got else (problem, 0)
            print("%d %s %d" % (start + inside, *found))


if __name__ == "__main__":
    main()
