"""Each finding of the preflight, planted on a real testbed: nothing would be written to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from string import ascii_lowercase

import pytest

from harness.errors import PreflightFailed
from harness.preflight import run
from harness.target import LioTarget
from harness.target.lio import SAVED, AccessState, Serving, one_group_each, render, serving
from harness.testbed import Testbed
from harness.topology import Portal, Role
from harness.transport.dm_multipath.multipath_conf import CONF
from harness.transport.iscsi import iscsiadm
from suites.selftest.detour import lead_astray, log_out
from suites.selftest.iscsi import iscsi_initiator

OTHER_TARGET = "iqn.2026-01.io.pathproof:other"


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was planted is there for good."""
    monkeypatch.setattr(run, "_UNCHANGED_S", 5.0)


def missing_session(testbed: Testbed) -> None:
    """The session of the last path is ended."""
    log_out(testbed, testbed.topology.paths[-1])


def second_session(testbed: Testbed) -> None:
    """The first path gets one more."""
    initiator(testbed, "iscsiadm --mode session --sid 1 --op new")


def wrong_way(testbed: Testbed) -> None:
    """The route to the last portal leads over the first cable."""
    lead_astray(testbed)


def wrong_timeout(testbed: Testbed) -> None:
    """As if multipathd's had not been taken over."""
    initiator(testbed, "for s in /sys/class/iscsi_session/*/recovery_tmo; do echo 120 >$s; done")


def portal_elsewhere(testbed: Testbed) -> None:
    """The target has one more portal, which is not in the configuration."""
    portal, network = elsewhere(testbed), testbed.topology.networks[0]
    nic = network.nics(Role.TARGET)[0]
    device = nic.bridge or testbed.nics(Role.TARGET)[nic.name]
    address = f"{portal.address}/{network.subnet.prefixlen}"
    at_once = "nodad" if portal.address.version == 6 else ""
    testbed.machine(Role.TARGET).sh(f"ip address add {address} dev {device} {at_once}")
    wanted = serving(testbed.config.target, testbed.topology)
    group, *others = wanted.groups
    more = replace(group, portals=(*group.portals, portal))
    serve(testbed, replace(wanted, groups=(more, *others)))
    testbed.machine(Role.INITIATOR).run(iscsiadm.discovery_argv(portal))
    log_in(testbed, testbed.topology.target_iqn, portal)


def wrong_lun(testbed: Testbed) -> None:
    """The configuration names another LUN than the target serves."""
    testbed.map.attachment.wwid = "36001405ffffffffffffffffffffffffff"


def twin(testbed: Testbed) -> None:
    """A second LUN of half the size has the first one's identity."""
    wanted = serving(testbed.config.target, testbed.topology)
    (unit,) = wanted.units
    other = replace(unit, name="lun1", path=f"{unit.path}.twin", size=unit.size // 2)
    testbed.machine(Role.TARGET).sh(f"truncate -s {other.size} {other.path}")
    groups = tuple(replace(group, units=(unit, other)) for group in wanted.groups)
    serve(testbed, replace(wanted, groups=groups))
    disks = f"[ $(ls -d /sys/block/sd* | wc -l) -ge {2 * len(testbed.topology.paths)} ]"
    initiator(testbed, f"until {disks}; do iscsiadm --mode session --rescan; sleep 1; done")


def other_way(testbed: Testbed) -> None:
    """The same LUN is served under a second name, too."""
    portal = replace(testbed.topology.portals[0].portal, port=3261)
    configuration = render(serving(testbed.config.target, testbed.topology))
    other = deepcopy(configuration["targets"][0]) | {"wwn": OTHER_TARGET}
    group = other["tpgs"][0]
    group["portals"] = [group["portals"][0] | {"port": portal.port}]
    other["tpgs"] = [group]
    configuration["targets"].append(other)
    target = testbed.machine(Role.TARGET)
    target.write_files({SAVED: json.dumps(configuration)}, mode=0o600)
    target.sh(f"targetctl restore {SAVED}")
    testbed.map.wait_for_paths(active=len(testbed.topology.paths))
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
    testbed.map.attachment.wwid = "36001405ffffffffffffffffffffffffff"


def path_not_in_map(testbed: Testbed) -> None:
    """As an administrator would take it away."""
    testbed.map.attachment.take_path_away(testbed.map.paths[0].disk)


def no_map(testbed: Testbed) -> None:
    """multipathd is told to leave the LUN alone."""
    initiator(testbed, f"sed -i '/blacklist_exceptions/,/}}/d' {CONF}; multipathd reconfigure")
    initiator(testbed, f"multipath -f {testbed.map.attachment.wwid} || :")


def stacked(testbed: Testbed) -> None:
    """Something of the device mapper lies on the map."""
    device = testbed.map.device
    initiator(testbed, f"echo 0 2048 linear {device} 0 | dmsetup create foreign")


def mounted(testbed: Testbed) -> None:
    """Somebody uses the LUN's file system."""
    device = testbed.map.device
    initiator(testbed, f"mkfs.ext4 -q -F {device} 100M; mount {device} /mnt")


# What is to be said, in which `filled_in` puts the names of the testbed.
PLANTS: Mapping[str, tuple[Callable[[Testbed], object], str]] = {
    "a session is missing": (missing_session, "path {last} has 0 sessions instead of one"),
    "a session is one too many": (second_session, "path {first} has 2 sessions instead of one"),
    "two paths through one link": (
        wrong_way,
        "the session of path {last} runs through link {first_link} instead of link {last_link}",
    ),
    "a timeout that was not taken over": (
        wrong_timeout,
        "is 120 s instead of 1 s",
    ),
    "a session on no path": (portal_elsewhere, "to {elsewhere} is on no path that was planned"),
    "the LUN is not there": (wrong_lun, "reaches no LUN with WWID"),
    "two LUNs with one WWID": (twin, "reaches 2 LUNs with WWID"),
    "paths that differ in size": (twin, "differ in size"),
    "a path over another target": (other_way, "no planned session leads to {next_disk}"),
    "an identity that is out of date": (stale_udev, "to the kernel"),
    "a path that is not in the map": (path_not_in_map, "the LUN's paths are"),
    "no map": (no_map, "there is no map"),
    "a device on the map": (stacked, "(foreign) lies on dm-"),
    "a mounted file system": (mounted, "is mounted on /mnt"),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_makes_a_testbed_unfit_is_found(testbed: Testbed, plant: str) -> None:
    """With a cure; all else is told, too."""
    action, text = PLANTS[plant]
    text = filled_in(testbed, text)
    testbed.preflight()
    testbed.broken = f"{plant}, on purpose"
    action(testbed)
    with pytest.raises(PreflightFailed) as caught:
        testbed.preflight()
    sys.stdout.write(f"\n{caught.value}\n")
    found = [problem for problem in caught.value.problems if text in problem.cause]
    assert found
    assert all(problem.cure for problem in found)


def filled_in(testbed: Testbed, says: str) -> str:
    paths = testbed.topology.paths
    return says.format(
        first=paths[0].name,
        last=paths[-1].name,
        first_link=paths[0].link.name,
        last_link=paths[-1].link.name,
        elsewhere=elsewhere(testbed),
        next_disk=f"sd{ascii_lowercase[len(paths)]}",
    )


def elsewhere(testbed: Testbed) -> Portal:
    """A portal on the first network that is not in the configuration."""
    return Portal(testbed.topology.networks[0].subnet[77])


def test_another_target_with_this_ones_names_is_found(testbed: Testbed) -> None:
    """The last portal leads to a copy of the LUN: name, portal, WWID, size, content are the same.

    Needs two portals; to the last one a single path leads.
    """
    path = testbed.topology.paths[-1]
    portals = len(testbed.topology.portals)
    if portals < 2 or len(testbed.topology.over_portal(path.portal.name)) > 1:
        pytest.skip("needs two portals, and one NIC on the network of the last one")
    testbed.prove_target()
    testbed.broken = "a second target, on purpose"
    second = path.portal.portal
    log_out(testbed, path)
    wanted = serving(testbed.config.target, testbed.topology)
    *here, there = one_group_each(wanted, [AccessState.OPTIMIZED] * portals).groups
    (unit,) = there.units
    other = replace(unit, name="lun1", path=f"{unit.path}.copy")
    testbed.machine(Role.TARGET).sh(f"cp --sparse=always {unit.path} {other.path}")
    assert isinstance(testbed.target, LioTarget)
    testbed.target.serve(replace(wanted, groups=(*here, replace(there, units=(other,)))))
    iqn = testbed.topology.target_iqn
    offers = iscsi_initiator(testbed).negotiation.offers
    for argv in (
        [*iscsiadm.forget_argv(iqn), "--portal", str(second)],
        iscsiadm.discovery_argv(second),
        iscsiadm.update_argv(
            iqn,
            iscsiadm.node_settings(testbed.config.profile, offers),
        ),
    ):
        testbed.machine(Role.INITIATOR).run(argv)
    log_in(testbed, iqn, second)
    testbed.map.wait_for_paths(active=len(testbed.topology.paths))
    assert testbed.map.attachment.paths() == tuple(testbed.map.paths)
    testbed.preflight()
    disk = testbed.map.paths[-1].disk
    with pytest.raises(PreflightFailed, match=f"{disk} with WWID .* leads to another target"):
        testbed.prove_target()


def initiator(testbed: Testbed, script: str) -> None:
    testbed.machine(Role.INITIATOR).sh(script)


def log_in(testbed: Testbed, iqn: str, portal: Portal) -> None:
    testbed.machine(Role.INITIATOR).run(iscsiadm.login_argv(iqn, portal))


def serve(testbed: Testbed, wanted: Serving) -> None:
    """Have LIO serve something else; sessions come back by themselves."""
    assert isinstance(testbed.target, LioTarget)
    testbed.target.serve(wanted)
    testbed.map.wait_for_paths(active=len(testbed.topology.paths))
