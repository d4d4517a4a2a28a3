"""A loss that the initiator can learn of only by silence."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from harness.budget import Effect
from harness.faults.base import Fault, Means
from harness.topology import Role, Topology


class SilentLoss(Fault):
    """Nothing is sent back, neither a reset nor an end of file."""

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.SILENT})


class LostAtOneEnd(SilentLoss):
    """What is lost at the end of one role, by the means of that end."""

    role: ClassVar[Role]
    means: ClassVar[Means]

    @abstractmethod
    def machine(self, topology: Topology) -> str:
        """The name of the machine at that end."""

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({self.means})
