"""What is in each block at each moment, by the writes that took effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.measurements import Found, Ints, WriteLog
from harness.measurements.arrays import Bools

_NONE = -1


@dataclass(frozen=True, eq=False)
class Content:
    """The acknowledged writes that took effect, by block and then by time.

    A write is taken to have its effect when it is acknowledged: before that, nothing is demanded.
    """

    writes: WriteLog
    order: Ints
    keys: Ints
    blocks: Ints
    zero_ns: int
    span_ns: int

    @classmethod
    def of(cls, writes: WriteLog, without: Bools | None = None) -> Content:
        """That of all acknowledged writes, or of those that are not taken away."""
        took_effect = writes.acknowledged if without is None else writes.acknowledged & ~without
        numbers = np.flatnonzero(took_effect)
        at_ns = writes.acknowledged_ns[numbers]
        blocks = np.unique(writes.offset)
        zero_ns = int(at_ns.min(initial=0)) if len(at_ns) else 0
        span_ns = int(at_ns.max(initial=zero_ns)) - zero_ns + 2
        keys = np.searchsorted(blocks, writes.offset[numbers]) * span_ns + (at_ns - zero_ns)
        order = np.argsort(keys, kind="stable")
        return cls(writes, numbers[order], keys[order], blocks, zero_ns, span_ns)

    def at(self, offset: Ints, at_ns: Ints | int, before: int = 0) -> Ints:
        """The number of the write that is in each block at that time, or EARLIER_RUN.

        `before` asks for an older one: 1 is the one before it.
        """
        rank = np.searchsorted(self.blocks, offset)
        rank = np.minimum(rank, len(self.blocks) - 1)
        key = rank * self.span_ns + np.clip(at_ns - self.zero_ns, -1, self.span_ns - 1)
        place = np.searchsorted(self.keys, key, side="right") - 1 - before
        inside = place >= 0
        found = np.full(len(offset), int(Found.EARLIER_RUN), dtype=np.int64)
        number = self.order[np.maximum(place, 0)]
        same = inside & (self.writes.offset[number] == offset)
        found[same] = number[same]
        return found
