"""Faults of the lab itself, which may look like faults of the storage; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.units import NS_PER_MS, NS_PER_S

# Healthy parts take 10 ms. What lasts as long as the default slack of a test, 1 s, and is seen by
# two samplers ten times a second, is found to have lasted for 0.55 s at least.
LONGEST_STANDSTILL_S = 0.5
# A machine that gave no sample for longer may not have run at all, so it is no witness.
WATCHED_NS = 500 * NS_PER_MS


@dataclass(frozen=True)
class Standstill:
    """A time in which nothing got through, though `count` frames or I/Os waited."""

    start_ns: int
    end_ns: int
    count: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / NS_PER_S


@dataclass(frozen=True)
class LabFault:
    """What a part of the lab did wrong, and from when to when."""

    text: str
    start_ns: int
    end_ns: int

    def overlaps(self, span_ns: tuple[int, int] | None) -> bool:
        """Whether any of it lies within that stretch of time; None is the whole test."""
        return span_ns is None or (self.start_ns <= span_ns[1] and self.end_ns >= span_ns[0])

    def __str__(self) -> str:
        return self.text


def stretches(between: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """The first and the last sample of each stretch in which `between` holds throughout.

    `between[i]` is about what lies between sample `i` and the next one.
    """
    edges = np.diff(np.concatenate(([0], between.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    yield from zip(starts.tolist(), ends.tolist(), strict=True)
