"""Keeps digests of what must not change on a disk, and compares it with them later (O_DIRECT).

It runs on the initiator by itself, after `reader.py` in one piece (`harness.workload.kept`):
Python 3.6, no imports but the standard library.

    python3 keeper.py keep FILE DEVICE < EXTENTS
    python3 keeper.py check FILE DEVICE

`keep` takes lines `OFFSET SIZE` and writes FILE. `check` reads the same extents again. For each
piece that has changed it prints a line `OFFSET PROBLEM BELONGS` for every block of 4 KiB that is
not as fio filled it, see `reader.py`, or one line `OFFSET changed 0` if all are. One that cannot
be read is a line `OFFSET unreadable ERRNO`. At the end there is a line `compared COUNT`.
"""

import hashlib
import sys
from typing import Iterable, Iterator, List, Tuple

from harness.workload.reader import Place, inspect

PIECE = 64 * 1024
AT_ONCE = 1024 * 1024  # one read
BLOCK = 4096


def reads(lines: Iterable[str]) -> Iterator[Tuple[int, int]]:
    for line in lines:
        start, size = map(int, line.split())
        for offset in range(start, start + size, AT_ONCE):
            yield offset, min(AT_ONCE, start + size - offset)


def keep(path: str, place: Place) -> None:
    with open(path, "w") as file:
        for offset, size in reads(sys.stdin):
            content = place.read(offset, size)
            if not isinstance(content, bytes):
                sys.exit("offset %d cannot be read: error %d" % (offset, content))
            file.write("%d %d %s\n" % (offset, size, " ".join(digests(content))))


def digests(content: bytes) -> List[str]:
    """One for each piece."""
    starts = range(0, len(content), PIECE)
    return [hashlib.md5(content[at : at + PIECE]).hexdigest() for at in starts]


def check(path: str, place: Place) -> None:
    count = 0
    with open(path) as file:
        for line in file:
            offset, size, *kept = line.split()
            count += len(kept)
            start, content = int(offset), place.read(int(offset), int(size))
            if not isinstance(content, bytes):
                print(start, "unreadable", content)
                continue
            for number, (was, now) in enumerate(zip(kept, digests(content))):
                at = number * PIECE
                if was != now:
                    tell(start + at, content[at : at + PIECE])
    print("compared", count)


def tell(start: int, content: bytes) -> None:
    """Which blocks of a changed piece are not those that fio filled it with."""
    told = False
    for at in range(0, len(content), BLOCK):
        problem, _, _, belongs = inspect(content[at : at + BLOCK], start + at)
        if problem != "ok":
            print(start + at, problem, belongs)
            told = True
    if not told:
        print(start, "changed", 0)


def keeper_main() -> None:
    what, path, device = sys.argv[1:]
    place = Place("", device, BLOCK)
    if place.away:
        sys.exit(place.away)
    (keep if what == "keep" else check)(path, place)


if __name__ == "__main__":
    keeper_main()
