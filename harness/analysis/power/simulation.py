"""How often the judge finds each kind of damage, with the limits of that share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.confidence import Limits, share_limits
from harness.analysis.power.plants import Changed, Lost, Plant, Replayed, Stale, Swapped, Torn
from harness.analysis.register import judge_register
from harness.errors import HarnessError
from harness.measurements import LookLog, WriteHistory

# What docs/detection.md promises, and what shows where the judge no longer sees everything.
PLANTS: tuple[Plant, ...] = (
    Lost(seconds=1),
    Lost(seconds=0.1),
    Lost(seconds=0),
    Stale(seconds=2),
    Stale(seconds=1),
    Stale(seconds=0.5),
    Stale(seconds=2, place=1),
    Replayed(seconds=2),
    Replayed(seconds=1),
    Swapped(seconds=2),
    Torn(seconds=2),
    Torn(seconds=2, place=1),
    Changed(),
    Changed(place=1),
)


@dataclass(frozen=True)
class Rate:
    """How many of the plants of one kind were found; `no_room` could not be planted."""

    plant: Plant
    planted: int
    found: int
    no_room: int

    @property
    def share(self) -> float:
        """Of those planted; 0 if none was."""
        return self.found / self.planted if self.planted else 0.0

    @property
    def limits(self) -> Limits:
        return share_limits(self.found, self.planted)


@dataclass(frozen=True)
class Table:
    """The rates of all kinds, in the histories that they were planted in."""

    rates: tuple[Rate, ...]
    histories: int
    writes: int
    looks: int


def measure_power(
    histories: Sequence[WriteHistory], trials: int, seed: int, plants: Iterable[Plant] = PLANTS
) -> Table:
    """Plant each kind so many times, by turns in each history, and have it judged.

    Raises HarnessError if the judge finds damage where none was planted: then it is not known what
    it would find.
    """
    for number, history in enumerate(histories):
        if wrong := int(judge_register(history).wrong.sum()):
            raise HarnessError(
                f"history {number} has {wrong} wrong looks already",
                hint="take one from a run in which *data intact* passed",
            )
    rates = tuple(
        _rate(plant, histories, trials, np.random.default_rng([seed, number]))
        for number, plant in enumerate(plants)
    )
    return Table(
        rates,
        len(histories),
        sum(len(history.writes) for history in histories),
        sum(len(history.looks) for history in histories),
    )


def _rate(
    plant: Plant, histories: Sequence[WriteHistory], trials: int, chance: np.random.Generator
) -> Rate:
    planted = found = 0
    for trial in range(trials):
        history = histories[trial % len(histories)]
        damaged = plant.into(history, chance)
        if damaged is None:
            continue
        planted += 1
        found += _found(history, damaged)
    return Rate(plant, planted, found, trials - planted)


def _found(history: WriteHistory, damaged: WriteHistory) -> bool:
    """Whether the judge finds what is wrong; only blocks of which a look changed are judged.

    The judge has each block by itself, so the verdict is that of the whole history.
    """
    looks = damaged.looks
    changed = np.unique(looks.offset[looks.found != history.looks.found])
    if not len(changed):
        return False
    near = np.isin(looks.offset, changed)
    columns = ("place", "offset", "found", "began_ns", "ended_ns")
    part = {name: getattr(looks, name)[near] for name in columns}
    few = replace(damaged, looks=LookLog(looks.places, **part))
    return bool(judge_register(few).wrong.any())
