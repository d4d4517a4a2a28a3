"""Each block as a register with one writer: whether a look may have found what it found.

A look must find the newest write that was acknowledged before it began, or one that was issued
later. Source: Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects"
(1990), for a register whose writes are known with the times of their issue and acknowledgement.

Times are counted in microseconds here, each rounded to the side on which nothing is blamed that
may be correct.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.measurements import Found, Ints, WriteHistory
from harness.measurements.arrays import Bools
from harness.units import NS_PER_US

# A key is the rank of a block and a time: so one sorted array has the times of every block.
_TIME_BITS = 42  # microseconds: 50 days
_LAST = (1 << _TIME_BITS) - 1
MOST_BLOCKS = 1 << 20  # different ones in a history: their ranks and the times share 63 bits
_NONE = -1


@dataclass(frozen=True, eq=False)
class Register:
    """What follows from all looks at all blocks.

    `wrong` tells of each look whether it found what it must not, and `instead` the number of a
    write that it should have found, -1 if it is not wrong. `proven` tells of each write whether a
    look that began after its acknowledgement found it.
    """

    wrong: Bools
    instead: Ints
    proven: Bools


class Keys:
    """The times of a history in microseconds, and keys of blocks with times."""

    def __init__(self, history: WriteHistory) -> None:
        writes, looks = history.writes, history.looks
        acknowledged = writes.acknowledged
        every = (writes.issued_ns, looks.began_ns)
        self.zero_ns = min((int(times.min()) for times in every if len(times)), default=0)
        blocks, ranks = np.unique(
            np.concatenate([writes.offset, looks.offset]), return_inverse=True
        )
        self.blocks = blocks
        self.rank_of_write = ranks[: len(writes)].astype(np.int64)
        self.rank_of_look = ranks[len(writes) :].astype(np.int64)
        self.issued_us = self.rounded_down(writes.issued_ns)
        done_ns = np.where(acknowledged, writes.acknowledged_ns, self.zero_ns)
        self.acknowledged_us = np.where(acknowledged, self.rounded_up(done_ns), _LAST)
        self.began_us = self.rounded_down(looks.began_ns)
        self.ended_us = self.rounded_up(looks.ended_ns)

    def rounded_down(self, at_ns: Ints | int) -> Ints:
        """Microseconds since the first time of all."""
        return np.asarray((np.asarray(at_ns) - self.zero_ns) // NS_PER_US, dtype=np.int64)

    def rounded_up(self, at_ns: Ints | int) -> Ints:
        """Microseconds since the first time of all."""
        return -self.rounded_down(2 * self.zero_ns - np.asarray(at_ns))

    @staticmethod
    def of(rank: Ints, at_us: Ints) -> Ints:
        """Keys of blocks with times; times outside of what a key holds are its first and last."""
        return (rank << _TIME_BITS) | np.clip(at_us, 0, _LAST)

    @cached_property
    def issue_order(self) -> NDArray[np.intp]:
        """The numbers of all writes, by block and then by issue."""
        return np.lexsort((self.issued_us, self.rank_of_write))


def judge_register(history: WriteHistory) -> Register:
    """Judge every look, and find out which writes are proven."""
    keys = Keys(history)
    found = history.looks.found
    by_number = found >= 0
    seen_us = _first_seen(keys, found)
    newest = _newest_before(keys, np.minimum(keys.acknowledged_us, seen_us))
    must = newest != _NONE
    instead_issued = np.full(len(found), _NONE, dtype=np.int64)
    instead_issued[must] = keys.issued_us[newest[must]]
    done_us = np.full(len(found), _NONE, dtype=np.int64)
    done_us[by_number] = keys.acknowledged_us[found[by_number]]
    wrong = must & (instead_issued > done_us)
    # While a write is under way its block may be read half new, and fully new afterwards only.
    wrong &= ~((found == Found.TORN) & _being_written(keys))
    wrong &= found != Found.NO_ANSWER
    proven = np.zeros(len(history.writes), dtype=np.bool_)
    late = by_number & (keys.began_us >= done_us)
    proven[found[late]] = True
    instead = np.where(wrong, newest, _NONE)
    return Register(wrong, instead, proven & history.writes.acknowledged)


def _first_seen(keys: Keys, found: Ints) -> Ints:
    """When each write was first found to be there: it has taken effect, acknowledged or not."""
    seen = np.full(len(keys.issued_us), _LAST, dtype=np.int64)
    by_number = found >= 0
    np.minimum.at(seen, found[by_number], keys.ended_us[by_number])
    return seen


def _newest_before(keys: Keys, done_us: Ints) -> Ints:
    """For each look the number of the write issued last of those done before it began."""
    count = len(done_us)
    if count == 0:
        return np.full(len(keys.began_us), _NONE, dtype=np.int64)
    order = np.lexsort((done_us, keys.rank_of_write))
    done = Keys.of(keys.rank_of_write, done_us)[order]
    issued = Keys.of(keys.rank_of_write, keys.issued_us)[order]
    latest = np.maximum.accumulate(issued)  # the first of a block exceeds all of those before it
    at = np.searchsorted(done, Keys.of(keys.rank_of_look, keys.began_us), side="left") - 1
    there = (at >= 0) & (latest[at] >> _TIME_BITS == keys.rank_of_look)
    by_issue = Keys.of(keys.rank_of_write, keys.issued_us)[keys.issue_order]
    # Of several that were issued in the same microsecond it is the last.
    place = np.searchsorted(by_issue, latest[at], side="right") - 1
    return np.where(there, keys.issue_order[place], _NONE)


def _being_written(keys: Keys) -> Bools:
    """Of each look whether a write to the block was under way at any time of it."""
    ranks = keys.rank_of_look
    issued = np.sort(Keys.of(keys.rank_of_write, keys.issued_us))
    done = np.sort(Keys.of(keys.rank_of_write, keys.acknowledged_us))
    begun = np.searchsorted(issued, Keys.of(ranks, keys.ended_us), side="right")
    over = np.searchsorted(done, Keys.of(ranks, keys.began_us), side="left")
    return np.asarray(begun > over)


def superseded(keys: Keys) -> Ints:
    """When the next write to the block of each write was issued; _LAST if there was none."""
    order = keys.issue_order
    next_us = np.full(len(order), _LAST, dtype=np.int64)
    same = keys.rank_of_write[order[1:]] == keys.rank_of_write[order[:-1]]
    next_us[order[:-1][same]] = keys.issued_us[order[1:][same]]
    return next_us
