"""Reads back what fio wrote, from several devices, bypassing the page cache (O_DIRECT).

It runs on the initiator by itself: Python 3.6, no imports but the standard library.

    python3 reader.py PLACE=DEVICE... < JOBS

takes, for each job of fio, a line `job BLOCK_SIZE NONCE` and the offsets of the job's blocks,
ascending, one a line. The first place is the map: there the program inspects every block. At the
other places, the paths, it inspects only the blocks that differ from the map's. It then looks at
each of those again at the map, to tell what changed from what differs. For each job it prints a
line `job`, and for each look a line `PLACE OFFSET PROBLEM TIME NUMBER BELONGS`:

- PROBLEM is `ok`, `blank` (all zero), `foreign` (no header of fio), `misdirected` (it says it
  belongs elsewhere), `torn` (a checksum does not match), `earlier` (as `ok`, but it does not have
  the nonce, given in hexadecimal or not at all) or `unreadable:ERRNO`, where 0 means that the
  device ends before;
- TIME is when fio made the block, in ns of CLOCK_MONOTONIC; NUMBER says after how many other
  writes, modulo 65536; BELONGS is the offset that fio wrote it to. All are 0 without a header.

At the end of each job there is a line `PLACE read COUNT` for each place, or `PLACE away REASON` for
a path that did not reach the disk.

Source: struct verify_header and struct vhdr_md5 in fio's verify.h, __fill_hdr() in verify.c.
"""

import errno
import hashlib
import mmap
import os
import struct
import sys
from typing import Iterable, Iterator, List, Optional, Sequence, Tuple, Union

# magic, two bytes of version or type, len, seed, offset, sec, nsec, ..., crc
HEADER = struct.Struct("<HBBIQQIIHHI")  # ... is thread, numberio
HEADER_3_41 = struct.Struct("<HBBIQQIIQH2xI")  # ... is numberio, thread; told by its version
VERSIONED = 0x80
MAGIC = 0xACCA
NUMBERS = 1 << 16
NONCE_SIZE = 16
RANDOM_PERCENT = 99  # of a block; the rest is the nonce, over and over
DIGEST_SIZE = 16
BLOCK_DEVICES = "/sys/class/block"
CHUNK = 1 << 20
GAP = 256 * 1024  # what lies between wanted blocks is read, too, if it is no more than that

# What a disk answers itself; any other error of a path is one of getting there. Source:
# blk_errors in the kernel's block/blk-core.c (medium, target and protection error).
ENDED = 0
ANSWERS = (ENDED, errno.ENODATA, errno.EREMOTEIO, errno.EILSEQ)

Content = Union[bytes, int]  # of a block, or the errno of reading it
Look = Tuple[str, int, int, int]  # problem, time, number, offset where it belongs
Job = Tuple[int, bytes, List[int]]  # size of a block, nonce, offsets


def crc32c_table() -> Iterator[int]:
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        yield crc


CRC32C = tuple(crc32c_table())


def crc32c(data: bytes) -> int:
    """CRC-32C as fio computes it, without the inversion at the end."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def has_nonce(block: bytes, nonce: bytes) -> bool:
    """Whether a block's last part, as fio's buffer_compress_percentage makes it, is the nonce."""
    rest = len(block) - len(block) * RANDOM_PERCENT // 100
    return not nonce or block.endswith((nonce * (rest // len(nonce) + 1))[:rest])


def inspect(block: bytes, offset: int, nonce: bytes = b"") -> Look:
    """What one block is by itself."""
    header = HEADER_3_41 if block[2] & VERSIONED else HEADER
    magic, _, _, length, _, belongs, seconds, nanoseconds, *counts, crc = header.unpack_from(block)
    if magic != MAGIC:
        return ("foreign" if any(block) else "blank"), 0, 0, 0
    if crc32c(block[: header.size - 4]) != crc:
        return "torn", 0, 0, 0
    number = counts[0 if header is HEADER_3_41 else 1] % NUMBERS
    if belongs != offset:
        problem = "misdirected"
    elif length != len(block):
        problem = "foreign"
    else:
        start = header.size + DIGEST_SIZE
        whole = hashlib.md5(block[start:]).digest() == block[header.size : start]
        problem = "torn" if not whole else "ok" if has_nonce(block, nonce) else "earlier"
    return problem, seconds * 1000000000 + nanoseconds, number, belongs


def stretches(offsets: Iterable[int], block_size: int, gap: int = 0) -> Iterator[Tuple[int, int]]:
    """Runs of blocks with gaps no larger than that, as (offset, size) and no longer than CHUNK."""
    start = end = -1
    for offset in offsets:
        if start < 0 or offset > end + gap or offset + block_size - start > max(CHUNK, block_size):
            if start >= 0:
                yield start, end - start
            start = offset
        end = offset + block_size
    if start >= 0:
        yield start, end - start


class Place:
    """A device to read from. `away` says why it cannot be reached."""

    def __init__(self, name: str, device: str, block_size: int = 0, nonce: bytes = b"") -> None:
        self.name = name
        self.begin(block_size, nonce)
        self.away = not_running(device)
        self.fd = -1
        try:
            if not self.away:
                self.fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
        except OSError as error:
            self.away = error.strerror or repr(error)

    def close(self) -> None:
        """Read no more from it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def begin(self, block_size: int, nonce: bytes = b"") -> None:
        """Read blocks of that size from now on, and count them anew."""
        self.nonce = nonce
        self.block_size = block_size
        self.count = 0
        self.buffer = mmap.mmap(-1, CHUNK + block_size)  # O_DIRECT wants page-aligned memory

    def read(self, start: int, size: int) -> Content:
        try:
            os.lseek(self.fd, start, os.SEEK_SET)  # os.preadv() came with Python 3.7
            got = os.readv(self.fd, [memoryview(self.buffer)[:size]])
        except OSError as error:
            return error.errno or errno.EIO
        return self.buffer[:size] if got == size else ENDED

    def blocks(self, start: int, size: int) -> List[Content]:
        """All blocks of a stretch; one by one if it cannot be read at once."""
        inside = range(0, size, self.block_size)
        whole = self.read(start, size)
        if isinstance(whole, bytes):
            return [whole[i : i + self.block_size] for i in inside]
        return [self.read(start + i, self.block_size) for i in inside]

    def tell(self, offset: int, content: Content) -> None:
        look = (
            inspect(content, offset, self.nonce)
            if isinstance(content, bytes)
            else ("unreadable:%d" % content, 0, 0, 0)
        )
        print(self.name, offset, *look)


def not_running(device: str) -> str:
    """Why a SCSI disk would not answer for a long time, if so."""
    name = os.path.basename(os.path.realpath(device))
    try:
        with open("%s/%s/device/state" % (BLOCK_DEVICES, name)) as file:
            state = file.read().strip()
    except OSError:
        return ""  # not a SCSI disk
    return "" if state == "running" else "the disk is " + state


def read_path(path: Place, first: Place, start: int, reference: List[Content], wanted: int) -> None:
    """Compare a stretch of a path, of which so many blocks are wanted, with the first place."""
    theirs = path.blocks(start, len(reference) * path.block_size)
    for error in theirs:
        if isinstance(error, int) and error not in ANSWERS:
            path.away = os.strerror(error)
            return
    path.count += wanted
    if theirs == reference:
        return
    for number, (our, their) in enumerate(zip(reference, theirs)):
        if their != our:
            offset = start + number * path.block_size
            path.tell(offset, their)
            first.tell(offset, first.read(offset, path.block_size))


def jobs(lines: Iterable[str]) -> Iterator[Job]:
    job: Optional[Job] = None
    for line in lines:
        words = line.split()
        if words[0] == "job":
            if job:
                yield job
            job = int(words[1]), bytes.fromhex("".join(words[2:])), []
        elif job:
            job[2].append(int(words[0]))
    if job:
        yield job


def read_job(job: Job, first: Place, paths: Sequence[Place]) -> None:
    """Look at the blocks of one job."""
    block_size, nonce, offsets = job
    for place in (first, *paths):
        place.begin(block_size, nonce)
    print("job")
    wanted = frozenset(offsets)
    for start, size in stretches(offsets, block_size, GAP):
        contents = first.blocks(start, size)
        inside = [at for at in range(start, start + size, block_size) if at in wanted]
        first.count += len(inside)
        for at in inside:
            first.tell(at, contents[(at - start) // block_size])
        for path in paths:
            if not path.away:
                read_path(path, first, start, contents, len(inside))
    for place in (first, *paths):
        print(place.name, *(("away", place.away) if place.away else ("read", place.count)))


def main() -> None:
    names = [place.partition("=") for place in sys.argv[1:]]
    first, *paths = (Place(name, device) for name, _, device in names)
    if first.away:
        sys.exit("%s: %s" % (first.name, first.away))
    for job in jobs(sys.stdin):
        read_job(job, first, paths)


if __name__ == "__main__":
    main()
