"""Planted defects of the lab itself: the storage must not be blamed for them."""

from __future__ import annotations

import time

from harness.hypervisor.hold import holding_disk, holding_frames
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.plants import assert_detected, run_clean


def test_a_cable_that_stands_still_for_two_seconds(testbed: Testbed, seed: int) -> None:
    """A path is lost for it, or nearly so; then every frame arrives after all."""
    testbed.broken = "a cable stood still on purpose"
    cable = testbed.topology.links[0].name
    nic = testbed.topology.nic_at(Role.TARGET, cable).mac

    def stand_still() -> None:
        with holding_frames(testbed.domain(Role.TARGET), nic):
            time.sleep(2)

    assert_detected(
        "the lab's cable stands still for 2 s",
        run_clean(testbed, seed, amid=stand_still),
        by="cables sound",
        unknown=f"the lab's cable {cable} stood still",
    )


def test_a_disk_of_the_target_that_stands_still_for_two_seconds(
    testbed: Testbed, seed: int
) -> None:
    """The host was slow to write the file that the LUN is in."""
    testbed.broken = "a disk stood still on purpose"

    def stand_still() -> None:
        with holding_disk(testbed.domain(Role.TARGET), testbed.lab_disks[0]):
            time.sleep(2)

    assert_detected(
        "the lab's disk under the LUN stands still for 2 s",
        run_clean(testbed, seed, amid=stand_still),
        by="lab disks sound",
        unknown="the lab's disk vda of the target stood still",
    )
