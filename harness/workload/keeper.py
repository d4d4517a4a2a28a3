"""Keeps digests of what must not change on a disk, and compares it with them later (O_DIRECT).

It runs on the initiator by itself, after `reader.py` and `identity.py` in one piece
(`harness.workload.programs`): Python 3.6, no imports but the standard library.

    python3 keeper.py keep FILE DEVICE < EXTENTS
    python3 keeper.py check FILE DEVICE PLACE=DEVICE...

`keep` takes lines `OFFSET SIZE` and writes FILE, with the identity of the LUN (`identity.py`) in
its first line. `check` reads the same extents again. For each piece that has changed it prints a
line `OFFSET PROBLEM BELONGS` for every block of 4 KiB that is not as fio filled it, see
`reader.py`, or one line `OFFSET changed 0` if all are. For a read that fails it prints `OFFSET
unreadable ERRNO`. Then it asks each device which LUN it is, and prints `PLACE is IDENTITY` if that
differs from FILE, or `PLACE silent REASON` if the device does not tell. It asks none if FILE has no
identity. At the end it prints `compared COUNT IDENTITY`.
"""

import hashlib
import sys
from typing import Iterable, Iterator, List, Tuple

from harness.workload.identity import UNTOLD, identity
from harness.workload.reader import Place, inspect

PIECE = 64 * 1024
AT_ONCE = 1024 * 1024  # one read
BLOCK = 4096
SEPARATOR = "\t"  # ascii() escapes it in a serial number


def reads(lines: Iterable[str]) -> Iterator[Tuple[int, int]]:
    for line in lines:
        start, size = map(int, line.split())
        for offset in range(start, start + size, AT_ONCE):
            yield offset, min(AT_ONCE, start + size - offset)


def keep(path: str, device: str) -> None:
    place = reached(device)
    with open(path, "w") as file:
        file.write(SEPARATOR.join(who(device)[0]) + "\n")
        for offset, size in reads(sys.stdin):
            content = place.read(offset, size)
            if not isinstance(content, bytes):
                sys.exit("offset %d cannot be read: error %d" % (offset, content))
            file.write("%d %d %s\n" % (offset, size, " ".join(digests(content))))


def digests(content: bytes) -> List[str]:
    """One for each piece."""
    starts = range(0, len(content), PIECE)
    return [hashlib.md5(content[at : at + PIECE]).hexdigest() for at in starts]


def reached(device: str) -> Place:
    place = Place("", device, BLOCK)
    if place.away:
        sys.exit(place.away)
    return place


def who(device: str) -> Tuple[List[str], str]:
    """Which LUN a device is, or why that is not known."""
    try:
        return identity(device), ""
    except OSError as error:
        return [], error.strerror or str(error)


def check(path: str, device: str, others: List[str]) -> None:
    count, place = 0, reached(device)
    with open(path) as file:
        was = next(file).rstrip("\n")
        for line in file:
            offset, size, *kept = line.split()
            count += len(kept)
            start, content = int(offset), place.read(int(offset), int(size))
            if not isinstance(content, bytes):
                print(start, "unreadable", content)
                continue
            for number, (then, now) in enumerate(zip(kept, digests(content))):
                at = number * PIECE
                if then != now:
                    tell(start + at, content[at : at + PIECE])
    if was:
        compare_identities(was.split(SEPARATOR), others)
    print("compared", count, ", ".join(was.split(SEPARATOR)))


def compare_identities(was: List[str], others: List[str]) -> None:
    for name, _, device in (other.partition("=") for other in others):
        now, why = who(device)
        pairs = [(then, told) for then, told in zip(was, now) if then != UNTOLD]
        if any(then != told != UNTOLD for then, told in pairs):
            print(name, "is", ", ".join(now))
        elif not now or any(told == UNTOLD for _, told in pairs):
            print(name, "silent", why or "it tells less than before")


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
    what, path, device, *others = sys.argv[1:]
    if what == "keep":
        keep(path, device)
    else:
        check(path, device, others)


if __name__ == "__main__":
    keeper_main()
