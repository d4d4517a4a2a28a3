"""A loss that the initiator can learn of only by silence."""

from __future__ import annotations

from harness.budget import Effect
from harness.faults.base import Fault


class SilentLoss(Fault):
    """Nothing is sent back, neither a reset nor an end of file."""

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.SILENT})
