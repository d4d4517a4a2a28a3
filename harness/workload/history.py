"""All writes of a run with their times, and all looks with the writes that they found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.measurements import (
    NEVER_NS,
    CompletionLog,
    Found,
    Ints,
    LookLog,
    WriteHistory,
    WriteLog,
)
from harness.units import NS_PER_US
from harness.workload.job import Area
from harness.workload.ledger import NUMBERS, Ledger, Looks
from harness.workload.report import IssuedWrites
from harness.workload.sweep import Sightings

_TIME_BITS = 40
# fio's log may be early by less than twice its grain, and 0.5 ms were seen: the time at which fio
# began and the time since then are both rounded down (set_epoch_time() in time.c).
_EARLY = 2
# The judge counts in microseconds, and rounds both ways; so do conversions from clock to clock.
_AFTER_NS = 2 * NS_PER_US
_PROBLEMS = {
    "ok": 0,
    "earlier": Found.EARLIER_RUN,
    "blank": Found.BLANK,
    "foreign": Found.FOREIGN,
    "misdirected": Found.MISDIRECTED,
    "torn": Found.TORN,
    "unreadable": Found.UNREADABLE,
}


@dataclass(frozen=True, eq=False)
class JobWrites:
    """What one job wrote, and where. `read_back` is what was found of it at the end."""

    area: Area
    log: CompletionLog
    issued: IssuedWrites
    ledger: Ledger
    read_back: Looks | None


def write_history(
    jobs: Sequence[JobWrites], seen: Sightings | None, block_size: int
) -> WriteHistory:
    """The history of one map, on the clock of the machine.

    The reading at the end is a look, too: it began after the last acknowledgement.
    """
    writes = _joined([_writes(job) for job in jobs])
    firsts = np.cumsum([0, *(len(job.issued.offset) for job in jobs)]).tolist()
    done = writes.acknowledged_ns[writes.acknowledged]
    over_ns = int(done.max(initial=0)) + _AFTER_NS
    places = list(seen.places if seen else ())
    looks = [_at_the_end(job.read_back, over_ns, places) for job in jobs if job.read_back]
    if seen is not None:
        looks.insert(0, _seen(seen))
    every = _concatenated(looks)
    found = every.found.copy()
    for job, first in zip(jobs, firsts, strict=False):
        inside = (every.offset >= job.area.offset) & (every.offset < job.area.end)
        whole = np.flatnonzero(inside & (every.found == 0))
        found[whole] = _numbers(every, whole, job, writes, first)
    return WriteHistory(
        writes,
        LookLog(tuple(places), every.place, every.offset, found, every.began_ns, every.ended_ns),
        read=_bytes_read(every, len(seen.found) if seen else 0, block_size),
        swept=seen is not None,
        failure=seen.failure if seen else "",
    )


def _writes(job: JobWrites) -> WriteLog:
    """Of the writes to one block the n-th issued is the n-th that was started, by fio's log.

    Where one was never acknowledged it is unknown which: then those after it count as
    acknowledged later than they were.
    """
    log, issued = job.log, job.issued
    started_ns = log.at_ns - log.latency_ns
    rows = np.flatnonzero(log.is_write)
    rows = rows[np.lexsort((started_ns[rows], log.offset[rows]))]
    numbers = np.lexsort((np.arange(len(issued.offset)), issued.offset))
    blocks = np.unique(issued.offset)
    key_of_row = _ordinals(np.searchsorted(blocks, log.offset[rows]))
    key_of_number = _ordinals(np.searchsorted(blocks, issued.offset[numbers]))
    at = np.searchsorted(key_of_number, key_of_row)
    acknowledged_ns = np.full(len(numbers), NEVER_NS, dtype=np.int64)
    acknowledged_ns[numbers[at]] = log.at_ns[rows] + _EARLY * log.resolution_ns
    return WriteLog(issued.offset, job.ledger.begun_ns + issued.after_ns, acknowledged_ns)


def _ordinals(blocks: Ints) -> Ints:
    """Keys of a block and how many of the same block came before; `blocks` ascend."""
    first = np.searchsorted(blocks, blocks, side="left")
    return np.asarray((blocks << _TIME_BITS) | (np.arange(len(blocks)) - first), dtype=np.int64)


def _joined(logs: Sequence[WriteLog]) -> WriteLog:
    return WriteLog(
        np.concatenate([log.offset for log in logs]),
        np.concatenate([log.issued_ns for log in logs]),
        np.concatenate([log.acknowledged_ns for log in logs]),
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Looks before the writes are known that they found: 0 in `found` for an undamaged block."""

    place: Ints
    offset: Ints
    found: Ints
    number: Ints
    written_ns: Ints
    began_ns: Ints
    ended_ns: Ints


def _seen(seen: Sightings) -> _Rows:
    return _Rows(
        *(seen.place, seen.offset, seen.found, seen.number),
        *(seen.written_ns, seen.began_ns, seen.ended_ns),
    )


def _at_the_end(looks: Looks, at_ns: int, places: list[str]) -> _Rows:
    """What was read back at the end; places that the sweep does not know are added."""
    rows: list[tuple[int, ...]] = []
    for offset, of_block in looks.blocks.items():
        for look in of_block:
            if look.place not in places:
                places.append(look.place)
            found = _PROBLEMS[look.problem.partition(":")[0]]
            where = places.index(look.place), offset
            rows.append((*where, found, look.number, look.written_ns, at_ns, at_ns))
    return _Rows(*np.array(rows, dtype=np.int64).reshape(-1, 7).T)


def _concatenated(parts: Sequence[_Rows]) -> _Rows:
    nothing = np.empty(0, dtype=np.int64)
    names = tuple(_Rows.__dataclass_fields__)
    return _Rows(*(np.concatenate([nothing, *(getattr(p, n) for p in parts)]) for n in names))


def _bytes_read(rows: _Rows, swept: int, block_size: int) -> Ints:
    """What each look asked for; only the first so many are those of the sweep."""
    chunk = rows.found == Found.NO_ANSWER  # has how many blocks it was in place of a number
    size = np.where(chunk, rows.number, 1) * block_size
    size[swept:] = 0
    return size


def _numbers(rows: _Rows, at: Ints, job: JobWrites, writes: WriteLog, first: int) -> Ints:
    """The number of the write that each look found.

    A block has the last 16 bits of it; of those it is the one issued nearest to the block's time.
    `FOREIGN` where no write to this block has that number.
    """
    count = len(job.issued.offset)
    if count == 0:
        return np.full(len(at), Found.FOREIGN, dtype=np.int64)
    issued_ns = writes.issued_ns[first : first + count]
    near = np.searchsorted(issued_ns, rows.written_ns[at])
    number = rows.number[at]
    number = number + NUMBERS * np.rint((near - number) / NUMBERS).astype(np.int64)
    exists = (number >= 0) & (number < count)
    found = np.where(exists, number, 0)
    exists &= job.issued.offset[found] == rows.offset[at]
    return np.where(exists, found + first, Found.FOREIGN)
