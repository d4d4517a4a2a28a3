"""Damage of a stated size, place and length, put into a history at a random moment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.power.content import Content
from harness.measurements import Found, Ints, LookLog, WriteHistory
from harness.measurements.arrays import Bools
from harness.units import NS_PER_S

_TRIES = 200


@dataclass(frozen=True)
class Plant(ABC):
    """One kind of damage: to so many blocks, for so long, as seen at one place or at all.

    `place` is an index into the places of the history, None is all of them: the damage is in the
    target, and not on one path.
    """

    blocks: int = 1
    seconds: float = 2.0
    place: int | None = None

    @abstractmethod
    def into(self, history: WriteHistory, chance: np.random.Generator) -> WriteHistory | None:
        """The history with the damage; None if it has no room for it."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is, without how much of it."""

    @property
    def size(self) -> str:
        return f"{self.blocks} block{'s' * (self.blocks != 1)}"

    @property
    def length(self) -> str:
        return f"{self.seconds:g} s"

    @property
    def where(self) -> str:
        return "everywhere" if self.place is None else "one path"


@dataclass(frozen=True)
class Lost(Plant):
    """Every write acknowledged in a stretch of time never takes effect.

    Without `seconds` it is one write alone.
    """

    def into(self, history: WriteHistory, chance: np.random.Generator) -> WriteHistory | None:
        writes = history.writes
        lost = self._which(history, chance)
        if not lost.any():
            return None
        looks = history.looks
        by_number = looks.found >= 0
        hit = np.zeros(len(looks), dtype=np.bool_)
        hit[by_number] = lost[looks.found[by_number]]
        left = Content.of(writes, without=lost)
        instead = left.at(looks.offset[hit], _moments(looks, hit, chance))
        return _with(history, hit & _seen_at(looks, self.place), hit, instead)

    def _which(self, history: WriteHistory, chance: np.random.Generator) -> Bools:
        """The writes that are lost; a moment at which none was acknowledged is drawn again."""
        writes = history.writes
        lost = np.zeros(len(writes), dtype=np.bool_)
        if not writes.acknowledged.any():
            return lost
        if not self.seconds:
            lost[chance.choice(np.flatnonzero(writes.acknowledged))] = True
            return lost
        for _ in range(_TRIES):
            start_ns = _moment(history, self.seconds, chance)
            end_ns = start_ns + int(self.seconds * NS_PER_S)
            lost = (writes.acknowledged_ns >= start_ns) & (writes.acknowledged_ns < end_ns)
            if lost.any():
                break
        return lost

    @property
    def title(self) -> str:
        return "acknowledged writes lost"

    @property
    def size(self) -> str:
        return "all writes" if self.seconds else "one write"

    @property
    def length(self) -> str:
        return super().length if self.seconds else ""


@dataclass(frozen=True)
class Stale(Plant):
    """Blocks read as they were one write earlier, for a while; then they are right again."""

    def into(self, history: WriteHistory, chance: np.random.Generator) -> WriteHistory | None:
        writes = history.writes
        start_ns = _moment(history, self.seconds, chance)
        offsets = np.unique(writes.offset[writes.acknowledged_ns <= start_ns])
        if len(offsets) < self.blocks:
            return None
        chosen = chance.choice(offsets, self.blocks, replace=False)
        hit, _ = _looks_in(history, chosen, start_ns, self, chance)
        older = Content.of(writes).at(history.looks.offset[hit], start_ns, before=1)
        return _with(history, hit, hit, older)

    @property
    def title(self) -> str:
        return "stale content served"


@dataclass(frozen=True)
class _OfQuietBlocks(Plant):
    """Damage to blocks that nobody writes to while it lasts, so that it does last."""

    def into(self, history: WriteHistory, chance: np.random.Generator) -> WriteHistory | None:
        for _ in range(_TRIES):
            start_ns = _moment(history, self.seconds, chance)
            offsets = _quiet(history, start_ns, start_ns + int(self.seconds * NS_PER_S))
            if len(offsets) >= self.blocks:
                chosen = chance.choice(offsets, self.blocks, replace=False)
                hit, _ = _looks_in(history, chosen, start_ns, self, chance)
                return _with(history, hit, hit, self.found(history, hit, start_ns))
        return None

    def found(self, history: WriteHistory, hit: Bools, start_ns: int) -> Ints:
        """What looks find there."""
        raise NotImplementedError


@dataclass(frozen=True)
class Replayed(_OfQuietBlocks):
    """An older write arrives once more, and is there until it is overwritten or mended."""

    def found(self, history: WriteHistory, hit: Bools, start_ns: int) -> Ints:
        return Content.of(history.writes).at(history.looks.offset[hit], start_ns, before=1)

    @property
    def title(self) -> str:
        return "an old write replayed"


@dataclass(frozen=True)
class Swapped(_OfQuietBlocks):
    """Blocks that are in each other's place for a while."""

    blocks: int = 2

    def found(self, history: WriteHistory, hit: Bools, start_ns: int) -> Ints:
        return np.full(int(hit.sum()), int(Found.MISDIRECTED), dtype=np.int64)

    @property
    def title(self) -> str:
        return "blocks swapped"


@dataclass(frozen=True)
class Torn(_OfQuietBlocks):
    """A part of each block is not what was written."""

    def found(self, history: WriteHistory, hit: Bools, start_ns: int) -> Ints:
        return np.full(int(hit.sum()), int(Found.TORN), dtype=np.int64)

    @property
    def title(self) -> str:
        return "blocks torn"


@dataclass(frozen=True)
class Changed(Plant):
    """Blocks that nobody writes to any more are changed, and stay so to the end."""

    seconds: float = 0.0

    def into(self, history: WriteHistory, chance: np.random.Generator) -> WriteHistory | None:
        end_ns = int(history.looks.ended_ns.max(initial=0))
        for _ in range(_TRIES):
            start_ns = _moment(history, 0, chance)
            offsets = _quiet(history, start_ns, end_ns)
            if len(offsets) >= self.blocks:
                chosen = chance.choice(offsets, self.blocks, replace=False)
                lasting = replace(self, seconds=(end_ns - start_ns) / NS_PER_S + 1)
                hit, _ = _looks_in(history, chosen, start_ns, lasting, chance)
                foreign = np.full(int(hit.sum()), int(Found.FOREIGN), dtype=np.int64)
                return _with(history, hit, hit, foreign)
        return None

    @property
    def title(self) -> str:
        return "a cold block changed"

    @property
    def length(self) -> str:
        return "to the end"


def _between(first_ns: int, last_ns: int, chance: np.random.Generator) -> int:
    return int(chance.integers(first_ns, max(last_ns, first_ns + 1)))


def _moment(history: WriteHistory, seconds: float, chance: np.random.Generator) -> int:
    """A moment from the first acknowledgement on, so that damage ends before the last one."""
    done = history.writes.acknowledged
    at_ns = history.writes.acknowledged_ns[done]
    if not len(at_ns):
        return 0
    return _between(int(at_ns.min()), int(at_ns.max()) - int(seconds * NS_PER_S), chance)


def _quiet(history: WriteHistory, start_ns: int, end_ns: int) -> Ints:
    """Blocks that were written before a stretch of time, and with no write under way in it."""
    writes = history.writes
    before = np.unique(writes.offset[writes.acknowledged_ns <= start_ns])
    busy = (writes.issued_ns < end_ns) & (writes.acknowledged_ns > start_ns)
    return np.setdiff1d(before, writes.offset[busy])


def _moments(looks: LookLog, chosen: Bools, chance: np.random.Generator) -> Ints:
    """When each of those looks read what it found: at any time between its ends."""
    began, ended = looks.began_ns[chosen], looks.ended_ns[chosen]
    share = chance.random(len(began))
    return np.asarray(began + (share * (ended - began)).astype(np.int64))


def _seen_at(looks: LookLog, place: int | None) -> Bools:
    """Looks that saw anything, at one place or at all."""
    seen = looks.found != Found.NO_ANSWER
    return np.asarray(seen if place is None else seen & (looks.place == place))


def _looks_in(
    history: WriteHistory,
    offsets: Ints,
    start_ns: int,
    plant: Plant,
    chance: np.random.Generator,
) -> tuple[Bools, Ints]:
    """The looks that read one of the blocks while the damage was there, and when they did."""
    looks = history.looks
    hit = np.isin(looks.offset, offsets) & _seen_at(looks, plant.place)
    at_ns = _moments(looks, hit, chance)
    inside = (at_ns >= start_ns) & (at_ns < start_ns + int(plant.seconds * NS_PER_S))
    hit[np.flatnonzero(hit)[~inside]] = False
    return hit, at_ns[inside]


def _with(history: WriteHistory, hit: Bools, chosen: Bools, instead: Ints) -> WriteHistory:
    """The history in which the looks `hit` found something else; `instead` is for all chosen."""
    found = history.looks.found.copy()
    found[hit] = instead[hit[chosen]]
    return replace(history, looks=replace(history.looks, found=found))
