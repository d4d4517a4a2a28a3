"""The bytes of paths without those that the sweep read: what is left is the load's; pure.

A look counts from its beginning, and no byte twice. The counters of a sample are read some time
after its clock was, so what began before the next sample may be in them. One that failed counts,
too: so it does in the kernel's counters (blk_update_request() in block/blk-mq.c).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.measurements import MAP, Ints, PathCounters, WriteHistory

Bytes = NDArray[np.float64]


def without_sweep(
    counters: Sequence[PathCounters], history: WriteHistory
) -> tuple[PathCounters, ...]:
    """The same counters without what the sweep read over each path, past the map, and of the map.

    Unchanged if there was no sweep.

    Which path the map sent a look over is not known: as much of each path's bytes is taken off as
    of all paths' together.
    """
    if not history.read.any():
        return tuple(counters)
    return _without_looks_at_the_map([_without_own_looks(c, history) for c in counters], history)


def _without_own_looks(counters: PathCounters, history: WriteHistory) -> PathCounters:
    if not len(counters.at_ns):
        return counters
    read_by = np.append(counters.at_ns[1:], counters.at_ns[-1:])
    read = counters.bytes_read - _swept(history, counters.path, read_by)
    rest: Ints = np.maximum.accumulate(np.maximum(read, counters.bytes_read[0]))
    return replace(counters, bytes_read=rest, swept=True)


def _without_looks_at_the_map(
    counters: Sequence[PathCounters], history: WriteHistory
) -> tuple[PathCounters, ...]:
    sampled = [one for one in counters if len(one.at_ns)]
    if not sampled:
        return tuple(counters)
    times = np.unique(np.concatenate([one.at_ns for one in sampled]))
    grown = np.diff(np.array([np.interp(times, one.at_ns, one.bytes_read) for one in sampled]))
    kept = _kept(grown.sum(axis=0), np.diff(_swept(history, MAP, times)))
    rest = np.cumsum(np.pad(grown * kept, ((0, 0), (1, 0))), axis=1)
    read = {
        one.path: one.bytes_read[0] + np.interp(one.at_ns, times, of_one).astype(np.int64)
        for one, of_one in zip(sampled, rest, strict=True)
    }
    return tuple(
        replace(one, bytes_read=read[one.path]) if one.path in read else one for one in counters
    )


def _kept(carried: Bytes, swept: Bytes) -> Bytes:
    """The share of the bytes of each interval that is the load's.

    What was read in one interval may be counted in the next: what is owed is carried over.
    """
    owed = 0.0
    kept = np.ones(len(carried))
    for n in np.flatnonzero(carried > 0):
        owed += float(swept[n])
        taken = min(owed, float(carried[n]))
        kept[n] -= taken / carried[n]
        owed -= taken
    return kept


def _swept(history: WriteHistory, place: str, at_ns: Ints) -> Ints:
    """Bytes that looks at a place had asked for until each time."""
    looks = history.looks
    if place not in looks.places or not len(history.read):
        return np.zeros(len(at_ns), dtype=np.int64)
    mine = looks.place == looks.places.index(place)
    order = np.argsort(looks.began_ns[mine])
    began, sums = looks.began_ns[mine][order], np.cumsum(history.read[mine][order])
    counted = np.searchsorted(began, at_ns, side="right")
    return np.asarray(np.append(0, sums)[counted], dtype=np.int64)
