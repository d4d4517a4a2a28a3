"""A history as a test of the suite leaves it, made up: writes, sweeps, an outage, a read-back."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from harness.analysis.power.content import Content
from harness.analysis.power.sweeping import Area, Looking, Outage, sweep
from harness.measurements import Found, Ints, LookLog, WriteHistory, WriteLog
from harness.units import NS_PER_MS, NS_PER_S

PLACES = ("map", "a", "b")
_WRITE_S = 0.008  # the median of a write
_SPREAD = 0.5


@dataclass(frozen=True)
class Written:
    """Blocks that one job writes in turn, always in the same order, and how the sweep sees them.

    At most `depth` writes are under way. They come at a pace of `per_s`; without it `depth` at
    once, and after all of them a pause of `pause_s`. `chunk` blocks are read at once, and all of
    them in `period_s`.
    """

    blocks: int
    depth: int
    per_s: float | None
    pause_s: float
    chunk: int
    period_s: float


@dataclass(frozen=True)
class Shape:
    """What is written and looked at; seconds.

    The sweep begins at 0 and I/O at `begins_s`; both end at `ends_s`. Path a is dead from `lost_s`
    to `healed_s`. I/O on the map stands still for `stall_s` then.
    """

    written: tuple[Written, ...]
    block_size: int
    looking: Looking
    begins_s: float = 1.0
    ends_s: float = 21.0
    lost_s: float = 7.0
    healed_s: float = 14.0
    stall_s: float = 3.0

    @property
    def outage(self) -> Outage:
        """As the sweep meets it."""
        given_up_s = self.lost_s + self.stall_s
        return Outage(
            self.lost_s, given_up_s, self.healed_s, PLACES.index("map"), PLACES.index("a")
        )


def synthetic_history(seed: int, shape: Shape) -> WriteHistory:
    """A history of a storage that keeps its promise; the same seed makes the same one."""
    chance = np.random.default_rng(seed)
    writes = _writes(shape, chance)
    return WriteHistory(writes, _looks(shape, writes, chance))


def _writes(of: Shape, chance: np.random.Generator) -> WriteLog:
    first, blocks, issued_s, done_s = 0, [], [], []
    for job in of.written:
        order = first + chance.permutation(job.blocks)
        times = _paced(of, job, chance) if job.per_s else _in_batches(of, job, chance)
        blocks.append(np.resize(order, len(times)))
        issued_s.append(times[:, 0])
        done_s.append(times[:, 1])
        first += job.blocks
    issued, done = _ns(np.concatenate(issued_s)), _ns(np.concatenate(done_s))
    by_issue = np.argsort(issued, kind="stable")
    offset = np.concatenate(blocks)[by_issue] * of.block_size
    return WriteLog(offset, issued[by_issue], done[by_issue])


def _paced(of: Shape, job: Written, chance: np.random.Generator) -> np.ndarray:
    """Issue and end of each write at a pace; what was due while none could be sent is made up."""
    assert job.per_s is not None
    under_way: list[float] = []
    times = []
    for number in range(int((of.ends_s - of.begins_s) * job.per_s)):
        at_s = of.begins_s + number / job.per_s
        if len(under_way) == job.depth:
            at_s = max(at_s, heappop(under_way))
        times.append((at_s, _done_s(of, at_s, chance)))
        heappush(under_way, times[-1][1])
    return np.array(times)


def _in_batches(of: Shape, job: Written, chance: np.random.Generator) -> np.ndarray:
    """Issue and end of each write where all of a batch are awaited, and a pause follows."""
    times: list[tuple[float, float]] = []
    at_s = of.begins_s
    while at_s < of.ends_s:
        batch = [(at_s, _done_s(of, at_s, chance)) for _ in range(job.depth)]
        times += batch
        at_s = max(done_s for _, done_s in batch) + job.pause_s
    return np.array(times)


def _done_s(of: Shape, at_s: float, chance: np.random.Generator) -> float:
    """When a write is acknowledged; what is sent in the stall is stuck on the dead path."""
    given_up_s = of.lost_s + of.stall_s
    sent_s = given_up_s if of.lost_s <= at_s < given_up_s else at_s
    return sent_s + float(chance.lognormal(np.log(_WRITE_S), _SPREAD))


def _looks(of: Shape, writes: WriteLog, chance: np.random.Generator) -> LookLog:
    areas, first = [], 0
    for job in of.written:
        areas.append(Area(first, job.blocks, job.chunk, job.period_s))
        first += job.blocks
    seen = sweep(areas, len(PLACES), of.ends_s, of.looking, of.outage, chance)
    last = np.arange(first)
    end_s = max(of.ends_s, float(writes.acknowledged_ns.max()) / NS_PER_S) + 0.5
    back = [np.tile(last, len(PLACES)), np.repeat(np.arange(len(PLACES)), first)]
    block = np.concatenate([seen.block, back[0]])
    place = np.concatenate([seen.place, back[1]])
    began = _ns(np.concatenate([seen.began_s, np.full(len(back[0]), end_s)]))
    ended = _ns(np.concatenate([seen.ended_s, np.full(len(back[0]), end_s + 0.05)]))
    answered = np.concatenate([seen.answered, np.ones(len(back[0]), dtype=np.bool_)])
    read = began + (chance.random(len(began)) * (ended - began)).astype(np.int64)
    found = Content.of(writes).at(block * of.block_size, read)
    found[~answered] = int(Found.NO_ANSWER)
    return LookLog(PLACES, place, block * of.block_size, found, began, ended)


def _ns(seconds: np.ndarray) -> Ints:
    return np.asarray((seconds * NS_PER_S).astype(np.int64) + NS_PER_MS)
