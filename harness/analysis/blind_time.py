"""For how long a wrong content of a block could have gone unseen, if it is seen over every path.

It is seen for certain by a look that began and ended while it was there. So the longest that can
go unseen at a block begins as one look begins, and ends with the first to end of all later looks.
Time in which no look anywhere was answered does not count: nobody else read anything then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.register import Keys, superseded
from harness.measurements import Found, Ints, WriteHistory
from harness.measurements.arrays import Bools

_US_PER_S = 1_000_000
_WAITING_US = 1_000_000  # a look that takes longer waits for a path; a slow one does not

Seconds = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gaps:
    """The stretches in which a block was not seen, by block and then by time.

    `seconds` is how long each is, without what no look could have shown.
    """

    rank: Ints
    start_us: Ints
    end_us: Ints
    seconds: Seconds


def gaps(history: WriteHistory, keys: Keys | None = None) -> Gaps:
    """All gaps of all blocks, each from the first acknowledgement of a write to it."""
    keys = keys or Keys(history)
    done = history.writes.acknowledged
    if not done.any():
        nothing = np.empty(0, dtype=np.int64)
        return Gaps(nothing, nothing, nothing, nothing.astype(np.float64))
    last = np.iinfo(np.int64).max
    first_us = np.full(len(keys.blocks), last, dtype=np.int64)
    np.minimum.at(first_us, keys.rank_of_write[done], keys.acknowledged_us[done])
    over_us = int(keys.acknowledged_us[done].max())
    counts = history.looks.found != Found.NO_ANSWER
    counts &= keys.began_us >= first_us[keys.rank_of_look]
    written = np.flatnonzero(first_us != last)
    rank = np.concatenate([written, keys.rank_of_look[counts]])
    began = np.concatenate([first_us[written], keys.began_us[counts]])
    # What begins a block's first gap is no look, and ends none.
    ended = np.concatenate([np.full(len(written), -1), keys.ended_us[counts]])
    order = np.lexsort((ended, began, rank))
    rank, began, ended = rank[order], began[order], ended[order]
    end_us = max(over_us, int(keys.ended_us.max(initial=0)))
    end = np.full(len(rank), end_us, dtype=np.int64)
    earliest = np.minimum.accumulate(Keys.of(rank, ended)[::-1])[::-1]
    same = rank[1:] == rank[:-1]
    end[:-1][same] = (earliest[1:] - Keys.of(rank, np.zeros_like(rank))[1:])[same]
    # Nothing is left unseen by a look after the last write, so that it begins no gap.
    last_of_block = np.append(~same, True)
    open_ended = ~(last_of_block & (ended >= 0) & (began >= over_us))
    rank, began, end = rank[open_ended], began[open_ended], end[open_ended]
    times, sums = _unreadable(history, keys)
    lost = np.interp(end, times, sums) - np.interp(began, times, sums)
    return Gaps(rank, began, end, np.maximum(end - began - lost, 0) / _US_PER_S)


def longest(of: Gaps, keys: Keys, windows_ns: Iterable[tuple[int, int]]) -> float:
    """The longest gap in seconds that has a part in any of the windows; 0 without any."""
    within = np.zeros(len(of.rank), dtype=np.bool_)
    for start_ns, end_ns in windows_ns:
        start, end = keys.rounded_down(start_ns), keys.rounded_up(end_ns)
        within |= (of.start_us < end) & (of.end_us > start)
    return float(of.seconds[within].max(initial=0.0))


def under_watch(history: WriteHistory, of: Gaps, keys: Keys, limit_s: float) -> Bools:
    """Of each write whether no gap of more than the limit met its time, until the next write."""
    bad = of.seconds > limit_s
    starts = np.sort(Keys.of(of.rank[bad], of.start_us[bad]))
    ends = np.sort(Keys.of(of.rank[bad], of.end_us[bad]))
    rank = keys.rank_of_write
    begun = np.searchsorted(starts, Keys.of(rank, superseded(keys)), side="left")
    over = np.searchsorted(ends, Keys.of(rank, keys.acknowledged_us), side="left")
    return np.asarray(history.writes.acknowledged & (begun <= over))


def _unreadable(history: WriteHistory, keys: Keys) -> tuple[Ints, Ints]:
    """How much of the time until then no place answered: times, and the sums at those times."""
    places = np.unique(history.looks.place)
    waits = [_waits(history, keys, int(place)) for place in places]
    edges = np.concatenate([part for wait in waits for part in wait] or [np.empty(0, np.int64)])
    if len(edges) == 0:
        return np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    times = np.unique(edges)
    waiting = times[:-1] >= keys.began_us.min()  # before that, nobody looked who could have
    for starts, ends in waits:
        open_now = np.searchsorted(starts, times[:-1], side="right")
        open_now -= np.searchsorted(ends, times[:-1], side="right")
        waiting &= open_now > 0
    sums = np.concatenate([[0], np.cumsum(np.diff(times) * waiting)])
    return times, sums.astype(np.int64)


def _waits(history: WriteHistory, keys: Keys, place: int) -> tuple[Ints, Ints]:
    """When a place did not answer, before its first look too: sorted beginnings and ends.

    A look that waits counts until the next one begins there that is answered sooner.
    """
    mine = history.looks.place == place
    began, first = np.unique(keys.began_us[mine], return_index=True)
    ended, found = keys.ended_us[mine][first], history.looks.found[mine][first]
    until_next = np.append(began[1:], keys.ended_us.max(initial=0))
    failed = found == Found.NO_ANSWER
    long = ended - began >= _WAITING_US
    until = np.where(failed, until_next, ended)
    for look in np.flatnonzero(long & ~failed).tolist():
        sooner = ~failed[look + 1 :] & (ended[look + 1 :] < ended[look])
        if sooner.any():
            until[look] = began[look + 1 + int(sooner.argmax())]
    starts = np.concatenate([[0], began[failed | long]])
    ends = np.concatenate([[began[0]], until[failed | long]])
    return np.sort(starts), np.sort(ends)


def windows_round(spans_ns: Sequence[tuple[int, int]], seconds: float) -> list[tuple[int, int]]:
    """Each stretch of time with so much before it and after it."""
    reach = int(seconds * 1_000_000_000)
    return [(start_ns - reach, end_ns + reach) for start_ns, end_ns in spans_ns]
