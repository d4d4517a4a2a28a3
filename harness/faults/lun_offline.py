"""LUNs that cannot be reached through one controller, though their sessions live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.budget import Effect
from harness.faults.kind import Family, Kind, Possible
from harness.faults.lio_setting import LioSetting
from harness.target.lio import live
from harness.topology import Topology


@dataclass(frozen=True)
class LunsOffline(LioSetting):
    """Every LUN is offline in one controller's portal group: NOT READY, 04/12.

    Not unmapped: of a LUN 0 that is mapped to nothing LIO serves a small disk of its own, which it
    also does as if it were read-only (transport_lookup_cmd_lun() in target_core_device.c). So I/O
    would fail instead of its path.
    """

    controller: str

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each controller."""
        return tuple(cls(one.name) for one in topology.controllers)

    @property
    def where(self) -> str:
        return self.controller

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.NOT_READY})

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_controller(self.controller)

    @property
    def description(self) -> str:
        return f"every LUN is offline behind controller {self.controller}"

    def changing(self, topology: Topology) -> str:
        return live.set_offline(topology, self.controller, offline=True)

    def restoring(self, topology: Topology) -> str:
        return live.set_offline(topology, self.controller, offline=False)

    def showing(self, topology: Topology) -> str:
        return live.show_offline(topology, self.controller)

    def unchanged(self, told: str, topology: Topology) -> str:
        return self._said(live.not_so(told, "1"), "is not offline")

    def changed(self, told: str, topology: Topology) -> str:
        return self._said(live.not_so(told, "0"), "is offline")

    def _said(self, luns: Sequence[str], what: str) -> str:
        return f"{', '.join(luns)} {what} behind controller {self.controller}" if luns else ""


LUN_OFFLINE_KINDS = (
    Kind(
        LunsOffline,
        "controller",
        Family.STORAGE,
        "every LUN is offline behind one controller (secondary access state of its portal group)",
        "each command there is answered with NOT READY, 04/12; the sessions live",
        LunsOffline.everywhere,
    ),
)
