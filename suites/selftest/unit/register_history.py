"""Histories of writes and looks as a correct storage makes them, in any order that it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from harness.measurements import NEVER_NS, Found, LookLog, WriteHistory, WriteLog
from harness.units import NS_PER_MS

PLACES = ("map", "a", "b")
BLOCK = 4096


@dataclass(frozen=True)
class Write:
    """A write of which the storage keeps a copy at each time in `applied`, all in ms."""

    block: int
    issued: int
    acknowledged: int | None
    applied: tuple[int, ...]


@dataclass(frozen=True)
class Seen:
    """A look, in ms, and what it found."""

    block: int
    began: int
    ended: int
    found: int
    place: int = 0


@dataclass(frozen=True)
class Story:
    """What was written, and what was seen of it."""

    writes: tuple[Write, ...]
    looks: tuple[Seen, ...]

    def history(self) -> WriteHistory:
        """As it is measured."""
        return WriteHistory(
            WriteLog(
                offset=_ints([w.block * BLOCK for w in self.writes]),
                issued_ns=_ints([w.issued * NS_PER_MS for w in self.writes]),
                acknowledged_ns=_ints(
                    [
                        NEVER_NS if w.acknowledged is None else w.acknowledged * NS_PER_MS
                        for w in self.writes
                    ]
                ),
            ),
            LookLog(
                places=PLACES,
                place=_ints([look.place for look in self.looks]),
                offset=_ints([look.block * BLOCK for look in self.looks]),
                found=_ints([look.found for look in self.looks]),
                began_ns=_ints([look.began * NS_PER_MS for look in self.looks]),
                ended_ns=_ints([look.ended * NS_PER_MS for look in self.looks]),
            ),
        )

    def changed(self, look: int, found: int) -> Story:
        """The same with something else found by one look."""
        looks = list(self.looks)
        looks[look] = replace(looks[look], found=found)
        return replace(self, looks=tuple(looks))


def _ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Writes of any length, also of one block at once, each applied once or more until it is
    acknowledged; one that never is may be applied at any time, or never. A look finds what is
    there at one moment of its time."""
    writes: list[Write] = []
    for _ in range(draw(st.integers(1, 14))):
        issued, takes = draw(st.integers(0, 60)), draw(st.integers(1, 12))
        never = draw(st.booleans()) and draw(st.booleans())
        until = 90 if never else issued + takes
        often = st.lists(st.integers(issued, until), min_size=0 if never else 1, max_size=2)
        applied = tuple(sorted(draw(often)))
        block = draw(st.integers(0, 2))
        writes.append(Write(block, issued, None if never else issued + takes, applied))
    looks = [_look(draw, writes) for _ in range(draw(st.integers(0, 12)))]
    return Story(tuple(writes), tuple(looks))


def _look(draw: st.DrawFn, writes: Sequence[Write]) -> Seen:
    block, began = draw(st.integers(0, 2)), draw(st.integers(0, 80))
    ended = began + draw(st.integers(0, 15))
    at, place = draw(st.integers(began, ended)), draw(st.integers(0, 2))
    if draw(st.integers(0, 9)) == 0:
        return Seen(block, began, ended, Found.NO_ANSWER, place)
    mine = [(t, n) for n, w in enumerate(writes) if w.block == block for t in w.applied if t <= at]
    return Seen(block, began, ended, max(mine)[1] if mine else Found.EARLIER_RUN, place)


def overwritten_before(story: Story, write: int, look: Seen) -> bool:
    """By the definition: a later write was acknowledged before the look began."""
    done = story.writes[write].acknowledged
    return done is not None and any(
        w.block == look.block
        and w.acknowledged is not None
        and done < w.issued
        and w.acknowledged < look.began
        for w in story.writes
    )


def written_before(story: Story, look: Seen) -> bool:
    """Whether any write to the block was acknowledged before the look."""
    return any(
        w.block == look.block and w.acknowledged is not None and w.acknowledged < look.began
        for w in story.writes
    )


def being_written(story: Story, look: Seen) -> bool:
    """Whether a write to the block was under way at any time of the look."""
    return any(
        w.block == look.block
        and w.issued <= look.ended
        and (w.acknowledged is None or w.acknowledged >= look.began)
        for w in story.writes
    )
