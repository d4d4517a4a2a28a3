"""Each finding of the preflight, planted on a real testbed: nothing would be written to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from harness.errors import PreflightFailed
from harness.initiator import iscsiadm
from harness.initiator.multipath import CONF
from harness.preflight import run
from harness.target import LioTarget
from harness.target.lio import SAVED, AccessState, Serving, one_group_each, render, serving
from harness.testbed import Testbed
from harness.topology import Portal, Role

ELSEWHERE = "172.16.0.77"
OTHER_TARGET = "iqn.2026-01.io.pathproof:other"


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was planted is there for good."""
    monkeypatch.setattr(run, "_UNCHANGED_S", 5.0)


def missing_session(testbed: Testbed) -> None:
    """The session on fabric b is ended."""
    log_out(testbed, testbed.topology.fabric("b").portal)


def second_session(testbed: Testbed) -> None:
    """Fabric a gets one more."""
    initiator(testbed, "iscsiadm --mode session --sid 1 --op new")


def wrong_way(testbed: Testbed) -> None:
    """The route to the second portal leads over the first cable."""
    first, second = testbed.topology.fabrics
    nic = testbed.nic(Role.INITIATOR, first.name)
    log_out(testbed, second.portal)
    initiator(testbed, f"ip route add {second.portal.address}/32 dev {nic} src {first.initiator}")
    log_in(testbed, testbed.topology.target_iqn, second.portal)


def wrong_timeout(testbed: Testbed) -> None:
    """As if multipathd's had not been taken over."""
    initiator(testbed, "for s in /sys/class/iscsi_session/*/recovery_tmo; do echo 120 >$s; done")


def portal_elsewhere(testbed: Testbed) -> None:
    """The target has one more portal, which is on no fabric that was described."""
    nic = testbed.nic(Role.TARGET, "a")
    testbed.machine(Role.TARGET).sh(f"ip address add {ELSEWHERE}/24 dev {nic}")
    wanted = serving(testbed.config.target, testbed.topology)
    (group,) = wanted.groups
    portal = Portal(IPv4Address(ELSEWHERE))
    serve(testbed, replace(wanted, groups=(replace(group, portals=(*group.portals, portal)),)))
    testbed.machine(Role.INITIATOR).run(iscsiadm.discovery_argv(portal))
    log_in(testbed, testbed.topology.target_iqn, portal)


def wrong_lun(testbed: Testbed) -> None:
    """The configuration names another LUN than the target serves."""
    testbed.initiator.wwid = "36001405ffffffffffffffffffffffffff"


def twin(testbed: Testbed) -> None:
    """A second LUN of half the size has the first one's identity."""
    wanted = serving(testbed.config.target, testbed.topology)
    (group,) = wanted.groups
    (unit,) = group.units
    other = replace(unit, name="lun1", path=f"{unit.path}.twin", size=unit.size // 2)
    testbed.machine(Role.TARGET).sh(f"truncate -s {other.size} {other.path}")
    serve(testbed, replace(wanted, groups=(replace(group, units=(unit, other)),)))
    disks = "[ -e /sys/block/sdc ] && [ -e /sys/block/sdd ]"
    initiator(testbed, f"until {disks}; do iscsiadm --mode session --rescan; sleep 1; done")


def other_way(testbed: Testbed) -> None:
    """The same LUN is served under a second name, too."""
    portal = replace(testbed.topology.fabric("a").portal, port=3261)
    configuration = render(serving(testbed.config.target, testbed.topology))
    other = deepcopy(configuration["targets"][0]) | {"wwn": OTHER_TARGET}
    (group,) = other["tpgs"]
    group["portals"] = [group["portals"][0] | {"port": portal.port}]
    configuration["targets"].append(other)
    target = testbed.machine(Role.TARGET)
    target.write_files({SAVED: json.dumps(configuration)}, mode=0o600)
    target.sh(f"targetctl restore {SAVED}")
    testbed.map.wait_for_paths(active=len(testbed.fabrics()))
    testbed.machine(Role.INITIATOR).run(iscsiadm.discovery_argv(portal))
    log_in(testbed, OTHER_TARGET, portal)


def stale_udev(testbed: Testbed) -> None:
    """The kernel knows another LUN than udev, as after a remapping."""
    number = testbed.map.paths[0].device
    initiator(
        testbed,
        f"sed -i 's/^E:ID_SERIAL=.*/E:ID_SERIAL=36001405ffffffffffffffffffffffffff/' "
        f"/run/udev/data/b{number}",
    )
    testbed.initiator.wwid = "36001405ffffffffffffffffffffffffff"


def path_not_in_map(testbed: Testbed) -> None:
    """As an administrator would take it away."""
    testbed.initiator.take_path_away(testbed.map.paths[0].name)


def no_map(testbed: Testbed) -> None:
    """multipathd is told to leave the LUN alone."""
    initiator(testbed, f"sed -i '/blacklist_exceptions/,/}}/d' {CONF}; multipathd reconfigure")
    initiator(testbed, f"multipath -f {testbed.initiator.wwid} || :")


def stacked(testbed: Testbed) -> None:
    """Something of the device mapper lies on the map."""
    device = testbed.map.device
    initiator(testbed, f"echo 0 2048 linear {device} 0 | dmsetup create foreign")


def mounted(testbed: Testbed) -> None:
    """Somebody uses the LUN's file system."""
    device = testbed.map.device
    initiator(testbed, f"mkfs.ext4 -q -F {device} 100M; mount {device} /mnt")


PLANTS: Mapping[str, tuple[Callable[[Testbed], object], str]] = {
    "a session is missing": (missing_session, "fabric b has 0 sessions instead of one"),
    "a session is one too many": (second_session, "fabric a has 2 sessions instead of one"),
    "two sessions through one fabric": (
        wrong_way,
        "the session to the portal on fabric b runs through fabric a",
    ),
    "a timeout that was not taken over": (
        wrong_timeout,
        "is 120 s instead of 1 s",
    ),
    "a session on no fabric": (portal_elsewhere, f"to {ELSEWHERE} is on no fabric"),
    "the LUN is not there": (wrong_lun, "reaches no LUN with WWID"),
    "two LUNs with one WWID": (twin, "reaches 2 LUNs with WWID"),
    "paths that differ in size": (twin, "differ in size"),
    "a path over another target": (other_way, "no planned session leads to sdc"),
    "an identity that is out of date": (stale_udev, "to the kernel"),
    "a path that is not in the map": (path_not_in_map, "the LUN's paths are"),
    "no map": (no_map, "there is no map"),
    "a device on the map": (stacked, "(foreign) lies on dm-"),
    "a mounted file system": (mounted, "is mounted on /mnt"),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_makes_a_testbed_unfit_is_found(testbed: Testbed, plant: str) -> None:
    """With a cure; all else is told, too."""
    action, says = PLANTS[plant]
    testbed.preflight()
    testbed.broken = f"{plant}, on purpose"
    action(testbed)
    with pytest.raises(PreflightFailed) as caught:
        testbed.preflight()
    sys.stdout.write(f"\n{caught.value}\n")
    found = [problem for problem in caught.value.problems if says in problem.cause]
    assert found
    assert all(problem.cure for problem in found)


def test_another_target_with_this_ones_names_is_found(testbed: Testbed) -> None:
    """Portal b leads to a copy of the LUN: name, portal, WWID, size and content are the same."""
    testbed.prove_target()
    testbed.broken = "a second target, on purpose"
    second = testbed.topology.fabric("b").portal
    log_out(testbed, second)
    wanted = serving(testbed.config.target, testbed.topology)
    here, there = one_group_each(wanted, [AccessState.OPTIMIZED] * 2).groups
    (unit,) = there.units
    other = replace(unit, name="lun1", path=f"{unit.path}.copy")
    testbed.machine(Role.TARGET).sh(f"cp --sparse=always {unit.path} {other.path}")
    assert isinstance(testbed.target, LioTarget)
    testbed.target.serve(replace(wanted, groups=(here, replace(there, units=(other,)))))
    iqn = testbed.topology.target_iqn
    for argv in (
        [*iscsiadm.forget_argv(iqn), "--portal", str(second)],
        iscsiadm.discovery_argv(second),
        iscsiadm.update_argv(
            iqn,
            iscsiadm.node_settings(testbed.config.profile, testbed.initiator.negotiation.offers),
        ),
    ):
        testbed.machine(Role.INITIATOR).run(argv)
    log_in(testbed, iqn, second)
    testbed.map.wait_for_paths(active=len(testbed.fabrics()))
    assert testbed.initiator.paths() == tuple(testbed.map.paths)
    testbed.preflight()
    path = testbed.map.paths[1].name
    with pytest.raises(PreflightFailed, match=f"{path} with WWID .* leads to another target"):
        testbed.prove_target()


def initiator(testbed: Testbed, script: str) -> None:
    testbed.machine(Role.INITIATOR).sh(script)


def log_out(testbed: Testbed, portal: Portal) -> None:
    argv = iscsiadm.logout_argv(testbed.topology.target_iqn)
    testbed.machine(Role.INITIATOR).run([*argv, "--portal", str(portal)])


def log_in(testbed: Testbed, iqn: str, portal: Portal) -> None:
    testbed.machine(Role.INITIATOR).run(iscsiadm.login_argv(iqn, portal))


def serve(testbed: Testbed, wanted: Serving) -> None:
    """Have LIO serve something else; sessions come back by themselves."""
    assert isinstance(testbed.target, LioTarget)
    testbed.target.serve(wanted)
    testbed.map.wait_for_paths(active=len(testbed.fabrics()))
