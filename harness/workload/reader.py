"""Reads back what fio wrote. Runs on the initiator by itself: Python 3.7, no imports but the
standard library. Reads bypass the page cache (O_DIRECT).

    python3 reader.py DEVICE OFFSET SIZE BLOCK_SIZE

prints a line per block: `OFFSET PROBLEM TIME`, where PROBLEM is `ok`, `blank` (all zero),
`no-header`, `misdirected` (it says it belongs elsewhere), `torn` (its checksum does not match),
or `unreadable:ERRNO`; TIME is when fio wrote it, in ns of CLOCK_MONOTONIC, or 0.

Source: struct verify_header and struct vhdr_md5 in fio's verify.h.
"""

import hashlib
import mmap
import os
import struct
import sys

HEADER = struct.Struct("<HHIQQIIHHI")  # magic type len seed offset sec nsec thread numberio crc
MAGIC = 0xACCA
DIGEST_SIZE = 16
CHUNK = 1 << 20


def inspect(block, offset):
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


def main():
    device, (offset, size, block_size) = sys.argv[1], map(int, sys.argv[2:])
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    chunk = max(CHUNK // block_size, 1) * block_size
    buffer = mmap.mmap(-1, chunk)  # O_DIRECT wants page-aligned memory
    for start in range(offset, offset + size, chunk):
        wanted = min(chunk, offset + size - start)
        lines = []
        try:
            got = os.preadv(fd, [memoryview(buffer)[:wanted]], start)
        except OSError as error:
            got = 0
            lines = ["%d unreadable:%d 0" % (at, error.errno) for at in range(start, start + wanted, block_size)]
        for inside in range(0, got - block_size + 1, block_size):
            problem, at_ns = inspect(buffer[inside : inside + block_size], start + inside)
            lines.append("%d %s %d" % (start + inside, problem, at_ns))
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
