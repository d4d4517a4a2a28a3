"""The sweep as `sweeper.py` runs it, without a machine: which chunk is read when, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.measurements import Ints
from harness.measurements.arrays import Bools

_LEAST_S = 0.002  # of an answered look; the rest is drawn, with this mean
_MEAN_S = 0.004
_REFUSED_S = 0.001  # of a look over a path that is given up
_TICK_S = 0.0005


@dataclass(frozen=True)
class Area:
    """Blocks from the first one on, of which `chunk` are read at once, and all in `period_s`."""

    first: int
    blocks: int
    chunk: int
    period_s: float


@dataclass(frozen=True)
class Looking:
    """A chunk that waits for `patience_s` is read elsewhere, too; after an error a place rests.

    It waits `slow` times as long as looks take if that is more, and `longest_patience_s` at most;
    `weight` is that of the last look in how long they take. At the map so many chunks are read side
    by side.
    """

    patience_s: float
    longest_patience_s: float
    slow: float
    weight: float
    rest_s: float
    at_the_map: int


@dataclass(frozen=True)
class Outage:
    """A path is silent from `lost_s` on, given up at `given_up_s`, and back at `healed_s`.

    Until it is given up, the map waits for it.
    """

    lost_s: float
    given_up_s: float
    healed_s: float
    map: int
    path: int

    def answer(self, place: int, now_s: float, took_s: float) -> tuple[float, bool]:
        """When a look ends that begins now and takes so long, and whether it is answered."""
        if place == self.map and self.lost_s <= now_s < self.given_up_s:
            return self.given_up_s + took_s, True
        if place != self.path or not self.lost_s <= now_s < self.healed_s:
            return now_s + took_s, True
        return max(self.given_up_s, now_s + _REFUSED_S), False


@dataclass(frozen=True, eq=False)
class Seen:
    """A row for each block of each look; a look without an answer has none that counts."""

    block: Ints
    place: Ints
    began_s: np.ndarray
    ended_s: np.ndarray
    answered: Bools


@dataclass
class _Turn:
    """Which chunk of an area is next, and when."""

    area: Area
    number: int = 0
    due_s: float = 0.0

    @property
    def chunks(self) -> int:
        return -(-self.area.blocks // self.area.chunk)

    def take(self, now_s: float) -> range:
        area = self.area
        start = self.number * area.chunk
        self.number = (self.number + 1) % self.chunks
        self.due_s = max(self.due_s + area.period_s / self.chunks, now_s - area.period_s)
        return range(area.first + start, area.first + min(start + area.chunk, area.blocks))


@dataclass
class _Watcher:
    """One look at a time: where, at what, since when, until when, and whether it is answered."""

    place: int
    task: range | None = None
    since_s: float = 0.0
    until_s: float = 0.0
    answers: bool = True
    handed_on: bool = False
    ready_s: float = 0.0
    answered_s: float = 0.0

    def free(self, now_s: float) -> bool:
        return self.task is None and self.ready_s <= now_s


@dataclass
class _Sweep:
    turns: list[_Turn]
    watchers: list[_Watcher]
    looking: Looking
    outage: Outage
    chance: np.random.Generator
    turn: int = 0
    usual_s: float = 0.0
    again: list[range] = field(default_factory=list)
    rows: list[tuple[range, int, float, float, bool]] = field(default_factory=list)

    @property
    def patience_s(self) -> float:
        """For how long a chunk may wait by now."""
        of = self.looking
        return min(max(of.patience_s, of.slow * self.usual_s), of.longest_patience_s)

    def settle(self, now_s: float) -> None:
        """Note what has ended by now, and hand on what waits for too long."""
        for watcher in self.watchers:
            if watcher.task is None:
                continue
            over = watcher.until_s <= now_s
            late = now_s - watcher.since_s > self.patience_s
            if not watcher.handed_on and (late or (over and not watcher.answers)):
                watcher.handed_on = True
                self.again.append(watcher.task)
            if over:
                self.note(watcher, watcher.until_s)

    def note(self, watcher: _Watcher, ended_s: float) -> None:
        """What it read, or that there was no answer."""
        assert watcher.task is not None
        row = (watcher.task, watcher.place, watcher.since_s, ended_s, watcher.answers)
        self.rows.append(row)
        if watcher.answers:
            watcher.answered_s = ended_s
            self.usual_s += self.looking.weight * (ended_s - watcher.since_s - self.usual_s)
        else:
            watcher.ready_s = ended_s + self.looking.rest_s
        watcher.task = None

    def idle(self, now_s: float) -> _Watcher | None:
        """The next place in turn that is free."""
        count = len(self.watchers)
        for step in range(count):
            watcher = self.watchers[(self.turn + step) % count]
            if watcher.free(now_s):
                self.turn = (self.turn + step + 1) % count
                return watcher
        return None

    def surest(self, now_s: float) -> _Watcher | None:
        """Of the free places the one that answered last."""
        free = [watcher for watcher in self.watchers if watcher.free(now_s)]
        return max(free, key=lambda watcher: watcher.answered_s, default=None)

    def send(self, now_s: float) -> bool:
        """Give one chunk to one place, if any is due and any place is free."""
        area = min(self.turns, key=lambda one: one.due_s)
        if self.again:
            watcher = self.surest(now_s)
        else:
            watcher = self.idle(now_s) if area.due_s <= now_s else None
        if watcher is None:
            return False
        if self.again:
            watcher.task = self.again.pop(0)
        else:
            watcher.task = area.take(now_s)
            self.turn += area.number == 0  # the next pass has each chunk at another place
        watcher.since_s, watcher.handed_on = now_s, False
        took_s = _LEAST_S + float(self.chance.exponential(_MEAN_S))
        watcher.until_s, watcher.answers = self.outage.answer(watcher.place, now_s, took_s)
        return True

    def next_s(self, now_s: float) -> float:
        """When something happens next: an answer, the end of patience or rest, a chunk is due."""
        times = [min(turn.due_s for turn in self.turns)]
        for watcher in self.watchers:
            if watcher.task is None:
                times.append(watcher.ready_s)
            else:
                times.append(watcher.until_s)
                times.append(watcher.since_s + self.patience_s + _TICK_S)
        return min((at_s for at_s in times if at_s > now_s), default=now_s + _TICK_S)


def sweep(
    areas: Sequence[Area],
    places: int,
    ends_s: float,
    looking: Looking,
    outage: Outage,
    chance: np.random.Generator,
) -> Seen:
    """All looks from 0 to `ends_s`."""
    also_there = [_Watcher(outage.map) for _ in range(looking.at_the_map - 1)]
    watchers = [*also_there, *(_Watcher(place) for place in range(places))]
    of = _Sweep([_Turn(area) for area in areas], watchers, looking, outage, chance)
    now_s = 0.0
    while now_s < ends_s:
        of.settle(now_s)
        if not of.send(now_s):
            now_s = of.next_s(now_s)
    for watcher in watchers:
        if watcher.task is not None:
            of.note(watcher, watcher.until_s)
    return _by_block(of.rows)


def _by_block(rows: Sequence[tuple[range, int, float, float, bool]]) -> Seen:
    sizes = [len(row[0]) for row in rows]
    place, began, ended, answered = (
        np.array(column) for column in list(zip(*rows, strict=True))[1:]
    )
    return Seen(
        np.concatenate([np.arange(row[0].start, row[0].stop) for row in rows]),
        np.repeat(place.astype(np.int64), sizes),
        np.repeat(began, sizes),
        np.repeat(ended, sizes),
        np.repeat(answered.astype(np.bool_), sizes),
    )
