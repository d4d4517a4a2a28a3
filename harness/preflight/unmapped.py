"""Which parts of a LUN were never written, by the target's own account.

A 10 TB LUN takes hours to read. A thin target can say which blocks have no storage behind them
(GET LBA STATUS) and that these read as zeros (LBPRZ), both SBC-4; then only the others are read,
and samples of these, so that a target that errs is likely to be noticed.
Sources: sg_readcap(8), sg_get_lba_status(8).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.machine import Machine
from harness.units import GIB, MIB

_REPLY_BYTES = 65536  # room for 4095 descriptors
_MOST_REPLIES = 2000  # of a target that tells little at a time
_DEALLOCATED = 1
_SAMPLE = MIB
_SAMPLE_EVERY = GIB
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Extent:
    """A stretch of a LUN, in bytes."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def capacity_argv(disk: str) -> list[str]:
    return ["sg_readcap", "--16", "--readonly", disk]


def status_argv(disk: str, lba: int) -> list[str]:
    return [
        *("sg_get_lba_status", "--brief", "--readonly"),
        *(f"--maxlen={_REPLY_BYTES}", f"--lba={lba}", disk),
    ]


def parse_block_size(text: str) -> int | None:
    """Bytes of a logical block, of a LUN whose unmapped blocks read as zeros; None of any other.

    Real lines:

        Logical block provisioning: lbpme=1, lbprz=1
        Logical block length=512 bytes
    """
    length = re.search(r"Logical block length=(\d+) bytes", text)
    if length is None or not re.search(r"\blbpme=1, lbprz=1\b", text):
        return None
    return int(length[1])


def parse_status(text: str) -> list[tuple[int, int, int]]:
    """LBA, number of blocks and provisioning status of each descriptor.

    Real line (newer versions add one more number): `0x0000000000000800  0x3f800  1`
    """
    lines = re.findall(r"^0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\d+)\b", text, re.MULTILINE)
    return [(int(lba, 16), int(blocks, 16), int(status)) for lba, blocks, status in lines]


def unmapped(machine: Machine, disk: str, size: int) -> list[Extent]:
    """The parts of a disk that were never written and read as zeros; none if it cannot tell."""
    block = parse_block_size(_said(machine, capacity_argv(disk)))
    if block is None:
        return []
    found: list[Extent] = []
    lba = 0
    for _ in range(_MOST_REPLIES):
        descriptors = parse_status(_said(machine, status_argv(disk, lba)))
        following = continued(lba, descriptors)
        found += [
            Extent(start * block, count * block)
            for start, count, status in descriptors
            if status == _DEALLOCATED and lba <= start < following
        ]
        if following == lba or following * block >= size:
            break
        lba = following
    return [extent for extent in found if extent.end <= size]


def _said(machine: Machine, argv: list[str]) -> str:
    """Nothing, if the target knows no such command or the machine no such tool."""
    answer = machine.sh(shlex.join(argv), timeout_s=_TIMEOUT_S, check=False)
    return answer.stdout if answer.status == 0 else ""


def continued(lba: int, descriptors: Iterable[tuple[int, int, int]]) -> int:
    """The LBA up to which descriptors follow each other without a gap, beginning at `lba`."""
    for start, count, _ in descriptors:
        if start != lba:
            break
        lba += count
    return lba


def to_read(size: int, holes: Iterable[Extent]) -> Iterator[Extent]:
    """What of a LUN must be read if `holes` (ascending) are unmapped: the rest, and samples."""
    position = 0
    for hole in holes:
        if hole.offset > position:
            yield Extent(position, hole.offset - position)
        yield from samples(hole)
        position = hole.end
    if position < size:
        yield Extent(position, size - position)


def samples(hole: Extent) -> Iterator[Extent]:
    """The beginning of every GiB of a stretch, and its end, 1 MiB each; a small one as a whole."""
    if hole.size <= 2 * _SAMPLE:
        yield hole
        return
    for offset in range(hole.offset, hole.end - _SAMPLE, _SAMPLE_EVERY):
        yield Extent(offset, min(_SAMPLE, hole.end - _SAMPLE - offset))
    yield Extent(hole.end - _SAMPLE, _SAMPLE)
