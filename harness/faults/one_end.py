"""Faults of one end of a path, by the means of that end."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from harness.faults.base import Fault, Means
from harness.topology import Role, Topology


class AtOneEnd(Fault):
    """What is broken at the end of one role, by the means of that end."""

    role: ClassVar[Role]
    means: ClassVar[Means]

    @abstractmethod
    def machine(self, topology: Topology) -> str:
        """The name of the machine at that end."""

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({self.means})
