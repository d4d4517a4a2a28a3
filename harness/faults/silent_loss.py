"""A loss that the initiator can learn of only by silence."""

from __future__ import annotations

from typing import ClassVar

from harness.budget import Effect
from harness.faults.base import Fault, Means
from harness.topology import Role


class SilentLoss(Fault):
    """Nothing is sent back, neither a reset nor an end of file."""

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.SILENT})


class LostAtOneEnd(SilentLoss):
    """What is lost at the end of one role, by the means of that end."""

    role: ClassVar[Role]
    means: ClassVar[Means]

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({self.means})
