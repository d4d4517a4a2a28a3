"""A history as a test of the suite leaves it, made up: writes, sweeps, an outage, a read-back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analysis.power.content import Content
from harness.measurements import Found, Ints, LookLog, WriteHistory, WriteLog
from harness.units import KIB, NS_PER_MS, NS_PER_S

PLACES = ("map", "a", "b")
_BLOCK = 16 * KIB
_CHUNK = 8  # blocks that one read of the sweep takes in


@dataclass(frozen=True)
class Shape:
    """What is written and looked at; seconds. Path a is dead from `lost_s` to `healed_s`.

    I/O on the map stands still for `stall_s` then. Writes come to `blocks` in turn, each of which
    stays until all others were written, and to few `hot` blocks again and again. Every block is
    looked at once in `period_s` (`hot_period_s`), at whichever place is next.
    """

    seconds: float = 20.0
    lost_s: float = 6.0
    healed_s: float = 13.0
    stall_s: float = 3.0
    blocks: int = 512
    hot: int = 32
    writes_per_s: float = 40.0
    hot_writes_per_s: float = 20.0
    period_s: float = 1.5
    hot_period_s: float = 0.4


def synthetic_history(seed: int, shape: Shape | None = None) -> WriteHistory:
    """A history of a storage that keeps its promise; the same seed makes the same one."""
    of = shape or Shape()
    chance = np.random.default_rng(seed)
    writes = _writes(of, chance)
    looks = _looks(of, writes, chance)
    return WriteHistory(writes, looks)


def _writes(of: Shape, chance: np.random.Generator) -> WriteLog:
    turns = int(of.seconds * of.writes_per_s)
    cold = np.resize(chance.permutation(of.blocks), turns)  # the same order in every pass
    hot_turns = int(of.seconds * of.hot_writes_per_s)
    hot = of.blocks + np.arange(hot_turns) % of.hot
    at_s = np.concatenate(
        [np.arange(turns) / of.writes_per_s, np.arange(hot_turns) / of.hot_writes_per_s]
    )
    at_s = at_s + chance.random(len(at_s)) * 0.01
    waiting = (at_s >= of.lost_s) & (at_s < of.lost_s + of.stall_s)
    # What comes in the outage is held, a few on the dead path, and done quickly once I/O goes on.
    first = waiting & (np.cumsum(waiting) <= 4)
    later = waiting & ~first
    at_s[later] = of.lost_s + of.stall_s + (at_s[later] - of.lost_s) / 4
    taken_s = chance.lognormal(np.log(0.008), 0.5, len(at_s))
    done_s = at_s + taken_s
    done_s[first] = of.lost_s + of.stall_s + taken_s[first]
    blocks = np.concatenate([cold, hot])
    # The hot writes have a pause, and no pace to catch up with: what was due meanwhile is left out.
    kept = ~(later & (blocks >= of.blocks))
    at_s, done_s, blocks = at_s[kept], done_s[kept], blocks[kept]
    # One writer for each block: the next write is issued when the last is done.
    order = np.lexsort((at_s, blocks))
    same = blocks[order[1:]] == blocks[order[:-1]]
    for before, after in zip(order[:-1][same], order[1:][same], strict=True):
        if at_s[after] < done_s[before]:
            done_s[after] += done_s[before] - at_s[after]
            at_s[after] = done_s[before]
    by_issue = np.argsort(at_s, kind="stable")
    return WriteLog(blocks[by_issue] * _BLOCK, _ns(at_s[by_issue]), _ns(done_s[by_issue]))


def _looks(of: Shape, writes: WriteLog, chance: np.random.Generator) -> LookLog:
    cold = _sweep(of, 0, of.blocks, of.period_s, chance)
    hot = _sweep(of, of.blocks, of.hot, of.hot_period_s, chance)
    last = np.arange(of.blocks + of.hot)
    end_s = float(writes.acknowledged_ns.max()) / NS_PER_S + 0.5
    back = [
        (last, np.full(len(last), place), np.full(len(last), end_s), np.full(len(last), 0.05))
        for place in range(len(PLACES))
    ]
    block, place, began_s, took_s = (
        np.concatenate(column) for column in zip(cold, hot, *back, strict=True)
    )
    began, ended = _ns(began_s), _ns(began_s + took_s)
    dead = (PLACES.index("a") == place) & (began_s >= of.lost_s) & (began_s < of.healed_s)
    read = began + (chance.random(len(began)) * (ended - began)).astype(np.int64)
    found = Content.of(writes).at(block * _BLOCK, read)
    found[dead] = int(Found.NO_ANSWER)
    return LookLog(PLACES, place.astype(np.int64), block * _BLOCK, found, began, ended)


def _sweep(
    of: Shape, first: int, count: int, period_s: float, chance: np.random.Generator
) -> tuple[Ints, Ints, np.ndarray, np.ndarray]:
    """Chunk after chunk at an even pace; the place that waits for an answer is passed over."""
    chunks = max(count // _CHUNK, 1)
    size = min(_CHUNK, count)
    began_s = np.arange(0, of.seconds, period_s / chunks)
    number = np.arange(len(began_s))
    place = number % len(PLACES)
    took_s = 0.002 + chance.exponential(0.004, len(began_s))
    dead = (began_s >= of.lost_s) & (began_s < of.healed_s)
    waits = dead & (began_s < of.lost_s + of.stall_s) & (place == PLACES.index("map"))
    place[(dead & (place == PLACES.index("a"))) | waits] = PLACES.index("b")
    stuck = np.flatnonzero(dead)[:1]  # one read is on its way over the path that dies
    place[stuck] = PLACES.index("a")
    took_s[stuck] = of.stall_s
    blocks = (first + (number % chunks)[:, None] * size + np.arange(size)).ravel()
    return blocks, np.repeat(place, size), np.repeat(began_s, size), np.repeat(took_s, size)


def _ns(seconds: np.ndarray) -> Ints:
    return np.asarray((seconds * NS_PER_S).astype(np.int64) + NS_PER_MS)
