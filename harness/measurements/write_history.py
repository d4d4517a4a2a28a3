"""Every write to the map of one LUN, and every look at what was written: one writer per block."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from harness.measurements.arrays import Bools, Ints, nothing

NEVER_NS = np.iinfo(np.int64).max  # when a write was acknowledged that never was


class Found(IntEnum):
    """What a look found if not a write of this run; `NO_ANSWER` if the path did not answer."""

    EARLIER_RUN = -1
    BLANK = -2
    FOREIGN = -3
    MISDIRECTED = -4
    TORN = -5
    UNREADABLE = -6
    NO_ANSWER = -7


@dataclass(frozen=True, eq=False)
class WriteLog:
    """Writes; the place of one in the arrays is its number.

    `issued_ns` is not later than the write was sent, `acknowledged_ns` not earlier than it was
    acknowledged, NEVER_NS if that is not known to have happened.
    """

    offset: Ints
    issued_ns: Ints
    acknowledged_ns: Ints

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def acknowledged(self) -> Bools:
        """Whether each was acknowledged."""
        return np.asarray(self.acknowledged_ns != NEVER_NS)

    @property
    def acknowledged_blocks(self) -> int:
        """How many blocks had a write acknowledged."""
        return len(np.unique(self.offset[self.acknowledged]))


@dataclass(frozen=True, eq=False)
class LookLog:
    """Looks at blocks: `found` is the number of the write that was there, or a `Found`.

    `place` is an index into `places`, which begins with the map. A look that found `NO_ANSWER` may
    have any offset.
    """

    places: tuple[str, ...]
    place: Ints
    offset: Ints
    found: Ints
    began_ns: Ints
    ended_ns: Ints

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(frozen=True, eq=False)
class WriteHistory:
    """All writes to a map, and all looks at the blocks that they went to; one clock for both.

    `read` has the bytes that each look of the sweep asked for. `swept` says whether a program
    looked at the blocks while they were written. `failure` says why what it saw is not known.
    """

    writes: WriteLog
    looks: LookLog
    read: Ints = field(default_factory=nothing)
    swept: bool = True
    failure: str = ""
