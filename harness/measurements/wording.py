"""The words of a transport, for those who read a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.budget import Layer


@dataclass(frozen=True)
class Wording:
    """What a transport calls the layers that take time, where it has words of its own."""

    layers: Mapping[Layer, str] = field(default_factory=dict)

    def of(self, layer: Layer) -> str:
        """The name of a layer."""
        return self.layers.get(layer, str(layer))
