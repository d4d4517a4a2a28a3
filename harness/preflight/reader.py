"""Looks for any byte that is not zero, past the page cache (O_DIRECT), until there is one.

It runs on the initiator by itself: Python 3.6, no imports but the standard library.

    python3 reader.py DISK HELD < EXTENTS

takes lines `OFFSET SIZE` and reads all of these bytes of DISK, several pieces at a time. HELD is
opened exclusively meanwhile, so that nothing begins to use it. It prints one JSON object a line:

    {"size": BYTES, "head": HEX, "held": ""}      first of all: the disk's size, its first
                                                  4 KiB, and why HELD is not to be had, if so
    {"read": BYTES}                               so far; once a second, and at the end
    {"data": OFFSET}                              at the end: the first byte found, if any
    {"failed": TEXT}                              at the end: why not all was read, if so

Source: open(2) for O_DIRECT, and for O_EXCL without O_CREAT.
"""

import json
import mmap
import os
import sys
import threading
import time
from typing import Any, Iterator, Optional, Tuple

HEAD = 4096
PIECE = 4 << 20
THREADS = 4  # one waits for the disk while another compares
ZEROS = bytes(PIECE)

Extent = Tuple[int, int]


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def pieces() -> Iterator[Extent]:
    for line in sys.stdin:
        start, size = map(int, line.split())
        for offset in range(start, start + size, PIECE):
            yield offset, min(PIECE, start + size - offset)


class Search:
    """Threads that share the pieces; `lock` guards all that is not a thread's own."""

    def __init__(self, disk: str) -> None:
        self.disk = disk
        self.pieces = pieces()
        self.lock = threading.Lock()
        self.read = 0
        self.data = -1
        self.failed = ""

    def next(self) -> Optional[Extent]:
        with self.lock:
            over = self.failed or self.data >= 0
            return None if over else next(self.pieces, None)

    def note(self, read: int, data: int, failed: str) -> None:
        with self.lock:
            self.read += read
            self.failed = self.failed or failed
            if data >= 0:
                self.data = data if self.data < 0 else min(self.data, data)

    def run(self) -> None:
        descriptor = os.open(self.disk, os.O_RDONLY | os.O_DIRECT)  # with a position of its own
        with mmap.mmap(-1, PIECE) as buffer:  # O_DIRECT wants page-aligned memory
            piece = self.next()
            while piece is not None:
                self.note(*look(descriptor, buffer, *piece))
                piece = self.next()


def look(descriptor: int, buffer: mmap.mmap, offset: int, size: int) -> Tuple[int, int, str]:
    """Read one piece: bytes read, where a byte is not zero (-1: nowhere), why it failed."""
    with memoryview(buffer) as whole, whole[:size] as view:
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)  # os.preadv() came with Python 3.7
            got = os.readv(descriptor, [view])
        except OSError as error:
            return 0, -1, "offset %d: %s" % (offset, error.strerror)
    if got != size:
        return 0, -1, "offset %d: %d bytes instead of %d" % (offset, got, size)
    content = buffer[:size]
    if content == ZEROS[:size]:
        return size, -1, ""
    return size, offset + size - len(content.lstrip(b"\0")), ""


def hold(device: str) -> str:
    """Open a device exclusively, for as long as this program lives; why not, if so."""
    try:
        os.open(device, os.O_RDONLY | os.O_EXCL)
    except OSError as error:
        return error.strerror or repr(error)
    return ""


def main() -> None:
    disk, held = sys.argv[1:]
    descriptor = os.open(disk, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, HEAD) as buffer:
        os.readv(descriptor, [buffer])
        size = os.lseek(descriptor, 0, os.SEEK_END)
        say(size=size, head=buffer[:].hex(), held=hold(held))
    search = Search(disk)
    threads = [threading.Thread(target=search.run, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    told = time.monotonic()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.1)
        if time.monotonic() - told >= 1:
            told = time.monotonic()
            say(read=search.read)
    say(read=search.read)
    if search.data >= 0:
        say(data=search.data)
    if search.failed:
        say(failed=search.failed)


if __name__ == "__main__":
    main()
