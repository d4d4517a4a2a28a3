"""Planted faults without effect, of those that act on the target as a whole, its sessions and ALUA.

Each says that it acts, and does not: nothing was tested, whatever else looks fine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from harness.faults import (
    ConnectionsKilled,
    Fault,
    Lab,
    NonOptimized,
    PortalRemoved,
    StorageHangs,
    TargetPaused,
)
from harness.testbed import Testbed
from harness.topology import Portal
from suites.selftest.defects.plants import assert_detected, lose_a_path

BY = "fault took effect"


@dataclass(frozen=True)
class RunsOn(TargetPaused):
    """A target that is said to be paused."""

    def inject(self, lab: Lab) -> None:
        """Do nothing."""

    confirm = inject


@dataclass(frozen=True)
class NoLimit(StorageHangs):
    """Disks that are said to hang."""

    def inject(self, lab: Lab) -> None:
        """Do nothing."""

    confirm = inject


@dataclass(frozen=True)
class NoneKilled(ConnectionsKilled):
    """Connections that are said to be ended: the list of them is there, and stays empty."""

    def inject(self, lab: Lab) -> None:
        self._kill(lab)

    def confirm(self, lab: Lab) -> None:
        """Do nothing."""

    def _killing(self, portal: Portal) -> str:
        return f": >>{self._log}"


@dataclass(frozen=True)
class StillListens(PortalRemoved):
    """A portal that is said to be removed."""

    def inject(self, lab: Lab) -> None:
        """Do nothing."""

    confirm = inject


@dataclass(frozen=True)
class StillOptimized(NonOptimized):
    """A controller that is said to be no longer optimized."""

    def inject(self, lab: Lab) -> None:
        """Do nothing."""

    confirm = inject

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        return {}


def found_out(testbed: Testbed, seed: int, fault: Fault, plant: str, unknown: str) -> None:
    """No path is lost, and the fault is not believed."""
    assert_detected(
        plant,
        lose_a_path(testbed, seed, fault, lost=0, during_s=8),
        by=BY,
        unknown=unknown,
    )


def test_a_target_that_is_not_paused(testbed: Testbed, seed: int) -> None:
    """Its paths carry what they did before."""
    plant = "a target that should be paused runs on"
    found_out(testbed, seed, RunsOn(), plant, f"path {testbed.map.paths[0]} still carried")


def test_disks_that_do_not_hang(testbed: Testbed, seed: int) -> None:
    """The hypervisor has no limit for them."""
    plant = "disks of the target that should hang do not"
    found_out(testbed, seed, NoLimit(), plant, "of the target has no such limit")


def test_connections_that_are_not_ended(testbed: Testbed, seed: int) -> None:
    """Nothing counts up."""
    fault = NoneKilled(testbed.topology.portals[0].name)
    plant = "connections that should be ended are not"
    found_out(testbed, seed, fault, plant, "did nothing that counts while it lasted")


def test_a_portal_that_is_not_removed(testbed: Testbed, seed: int) -> None:
    """No path would show it: its sessions were to stay."""
    fault = StillListens(testbed.topology.portals[0].name)
    plant = "a portal that should be removed is not"
    found_out(testbed, seed, fault, plant, f"LIO has portal {fault.portal}")


def test_a_controller_that_stays_optimized(testbed: Testbed, seed: int) -> None:
    """I/O goes on as before, and would if it were not."""
    found = StillOptimized.everywhere(testbed.topology, lambda _: True)
    if not found:
        pytest.skip("needs controllers with access states: --topology two-controllers")
    plant = "a controller that should not be optimized still is"
    found_out(testbed, seed, found[0], plant, "the access state of controller ")
