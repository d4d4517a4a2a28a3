"""Wrong wirings by topology: each is planted on a live testbed, and taken away again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.testbed import Testbed
from harness.topology import Role
from harness.transport.dm_multipath.multipath_conf import CONF
from harness.transport.iscsi import iscsiadm
from suites.selftest.iscsi import iscsi_initiator
from suites.selftest.wiring import masking_plants
from suites.selftest.wiring.served import exchanged_luns, exchanged_states

Planting = Callable[[Testbed], Any]


@dataclass(frozen=True)
class Plant:
    """What is planted, and what the preflight is to say; names in braces are filled in.

    {a} and {b} are the initiator's NICs of the first and the last link, {ta} and {tb} the target's;
    those of a further initiator come after its name, as {second_a}.
    `by_network`: there need be neither sessions nor a map.
    """

    planted: Planting
    says: str
    by_network: bool = False


def nic(testbed: Testbed, machine: str, number: int) -> str:
    topology = testbed.topology
    own = topology.of(topology.initiators[0] if machine == Role.TARGET else machine)
    return testbed.nic(machine, own.links[number].name)


def scripted(name: str, plant: str, undo: str) -> Planting:
    """Shell on one machine, with the names of its NICs filled in."""

    @contextmanager
    def planted(testbed: Testbed) -> Iterator[None]:
        names = {"a": nic(testbed, name, 0), "b": nic(testbed, name, -1)}
        names |= {"mac_a": testbed.topology.nics(name)[0].mac}
        names |= {"mac_b": testbed.topology.nics(name)[-1].mac}
        machine = testbed.machine(name)
        try:
            machine.sh(plant.format(**names))
            yield
        finally:
            machine.sh(undo.format(**names))

    return planted


def on_initiator(plant: str, undo: str) -> Planting:
    return scripted(Role.INITIATOR, plant, undo)


def on_target(plant: str, undo: str) -> Planting:
    return scripted(Role.TARGET, plant, undo)


def moved(address: str, start: str, end: str) -> str:
    return f"ip address del {address} dev {start}; ip address add {address} dev {end}\n"


A, B = "172.16.0.101/24", "172.16.1.101/24"
SWAPPED = moved(A, "{a}", "{b}") + moved(B, "{b}", "{a}")
SWAPPED_BACK = moved(A, "{b}", "{a}") + moved(B, "{a}", "{b}")
EXCHANGED = "ip link set {a} address {mac_b}\nip link set {b} address {mac_a}\n"
EXCHANGED_BACK = "ip link set {a} address {mac_a}\nip link set {b} address {mac_b}\n"


def policy(now: str) -> Planting:
    """Another grouping policy in multipathd's configuration."""
    changed = (
        f"cp {CONF} {CONF}.own\nsed -i 's/path_grouping_policy .*/path_grouping_policy {now}/'"
    )
    wait = 'until [ "$(multipathd reconfigure)" = ok ]; do sleep 0.5; done'
    return on_initiator(f"{changed} {CONF}\n{wait}", f"mv {CONF}.own {CONF}\n{wait}")


@contextmanager
def two_sessions_to_one_portal(testbed: Testbed) -> Iterator[None]:
    """The first portal has them, and the second one none."""
    first, second, *_ = testbed.topology.paths
    machine, iqn = testbed.machine(Role.INITIATOR), testbed.topology.target_iqn
    ended = [*iscsiadm.record_argv(iqn, second.portal.portal), "--logout"]
    session = (
        f"iscsiadm --mode session | sed -n 's/.*\\[\\(.*\\)\\] {first.portal.portal},.*/\\1/p'"
    )
    machine.run(ended)
    (own,) = machine.sh(session).stdout.split()
    machine.run(["iscsiadm", "--mode", "session", "--sid", own, "--op", "new"])
    try:
        yield
    finally:
        for sid in set(machine.sh(session).stdout.split()) - {own}:
            machine.run(["iscsiadm", "--mode", "session", "--sid", sid, "--logout"])
        machine.run(iscsiadm.login_argv(iqn, second.portal.portal))


@contextmanager
def bound_to_one(testbed: Testbed) -> Iterator[None]:
    """The interface of the last path is bound to the first one's NIC."""
    last = testbed.topology.paths[-1]
    with _logged_in_by(testbed, nic(testbed, Role.INITIATOR, 0), last.link.iface):
        yield


@contextmanager
def unbound(testbed: Testbed) -> Iterator[None]:
    """The last path logs in by open-iscsi's own interface, which is bound to no NIC."""
    last = testbed.topology.paths[-1]
    machine, iqn = testbed.machine(Role.INITIATOR), testbed.topology.target_iqn
    portal = last.portal.portal
    record = [*iscsiadm.record_argv(iqn, portal), "--interface"]
    machine.run([*record, last.link.iface, "--logout"])
    machine.run(iscsiadm.new_record_argv(iqn, portal))
    machine.run([*iscsiadm.login_argv(iqn, portal), "--interface", "default"])
    try:
        yield
    finally:
        machine.run([*record, "default", "--logout"])
        machine.run([*record, "default", "--op", "delete"])
        machine.run(iscsiadm.login_argv(iqn, portal, last.link.iface))


@contextmanager
def _logged_in_by(testbed: Testbed, device: str, iface: str) -> Iterator[None]:
    """A record has the NIC that its interface had when it was made."""
    last = testbed.topology.paths[-1]
    machine, own = testbed.machine(Role.INITIATOR), nic(testbed, Role.INITIATOR, -1)
    iqn, portal = testbed.topology.target_iqn, last.portal.portal
    record = [*iscsiadm.record_argv(iqn, portal), "--interface", iface]

    def by(name: str) -> None:
        machine.run([*record, "--logout"])
        machine.run([*record, "--op", "delete"])
        machine.run(iscsiadm.bind_argvs(iface, name)[1])
        # Without the portal group's tag a portal has one record, whatever the interface.
        tagged = ["--portal", f"{portal},1", "--interface", iface, "--op", "new"]
        machine.run(["iscsiadm", "--mode", "node", "--targetname", iqn, *tagged])
        iscsi_initiator(testbed)._prepare_records(iqn)
        machine.run(iscsiadm.login_argv(iqn, portal, iface))

    by(device)
    try:
        yield
    finally:
        by(own)


def setting(name: str, value: int, own: int) -> Planting:
    """One of the settings of the last NIC as it ships, or as some distributions ship it."""
    key = f"net/ipv4/conf/{{b}}/{name}"
    return on_initiator(f"sysctl -qw {key}={value}", f"sysctl -qw {key}={own}")


OF_SECOND_TARGET = "iscsiadm -m node -T iqn.2026-01.io.pathproof:storage-2"


NOT_ITS_POLICY = "has 1 path group ({paths}), and path_grouping_policy"

PLANTS: Mapping[str, Mapping[str, Plant]] = {
    "two": {
        "the initiator's cables are crossed": Plant(
            on_initiator(SWAPPED, SWAPPED_BACK),
            "the initiator's address 172.16.0.101 is on {b}, its NIC b, and not on {a}, its NIC a",
            by_network=True,
        ),
        "cables are crossed at the target": Plant(
            on_target(EXCHANGED, EXCHANGED_BACK),
            "which is the target's NIC of link b: cables are crossed",
            by_network=True,
        ),
        "both portals are reached through one NIC": Plant(
            on_initiator(
                "ip route add 172.16.1.1/32 dev {a} src 172.16.0.101",
                "ip route del 172.16.1.1/32 dev {a}",
            ),
            "packets to portal 172.16.1.1:3260 (b) leave by {a}, the NIC of link a, and not by {b}",
            by_network=True,
        ),
    },
    "four": {
        "a portal's address is missing": Plant(
            on_target(
                "ip address del 172.16.0.2/24 dev {a}", "ip address add 172.16.0.2/24 dev {a}"
            ),
            "the target has no address 172.16.0.2, which belongs on {ta}, its NIC a",
            by_network=True,
        ),
        "a portal is on the wrong network": Plant(
            on_target(moved("172.16.0.2/24", "{a}", "{b}"), moved("172.16.0.2/24", "{b}", "{a}")),
            "the target's address 172.16.0.2 is on {tb}, its NIC b, and not on {ta}, its NIC a",
            by_network=True,
        ),
        "two sessions lead to one portal": Plant(
            two_sessions_to_one_portal, "path a1 has 2 sessions instead of one"
        ),
    },
    "active-passive": {
        "the grouping policy is not in force": Plant(
            policy("multibus"), f"{NOT_ITS_POLICY} failover makes 2 path groups (a; b)"
        ),
    },
    "two-controllers": {
        "the access states are exchanged": Plant(
            exchanged_states,
            "to an optimized portal (controller c1), has priority 10, and path",
        ),
        "the grouping policy is not in force": Plant(
            policy("multibus"), f"{NOT_ITS_POLICY} group_by_prio makes 2 path groups (a1 b1; a2 b2)"
        ),
    },
    "one-subnet": {
        "both sessions leave by one NIC": Plant(
            bound_to_one, "is bound to {a} instead of {b}: the kernel may send several paths out"
        ),
        "an interface of open-iscsi is not bound": Plant(
            unbound, "172.16.0.1:3260 is on no path that was planned"
        ),
        "arp_ignore as it ships": Plant(
            setting("arp_ignore", 0, 1),
            "arp_ignore of {b}, one of 2 NICs of the initiator",
            by_network=True,
        ),
        "arp_announce as it ships": Plant(
            setting("arp_announce", 0, 2),
            "arp_announce of {b}, one of 2 NICs of the initiator",
            by_network=True,
        ),
        "rp_filter as some ship it": Plant(
            setting("rp_filter", 1, 2),
            "rp_filter of {b}, one of 2 NICs of the initiator",
            by_network=True,
        ),
        "rp_filter of all NICs": Plant(
            on_initiator(
                "sysctl -qw net/ipv4/conf/{b}/rp_filter=0 net/ipv4/conf/all/rp_filter=1",
                "sysctl -qw net/ipv4/conf/{b}/rp_filter=2 net/ipv4/conf/all/rp_filter=0",
            ),
            "is 1, by net.ipv4.conf.all.rp_filter: it drops what arrives there",
            by_network=True,
        ),
    },
    "two-targets": {
        "the LUNs are in each other's target": Plant(
            exchanged_luns,
            "in target iqn.2026-01.io.pathproof:storage-2 (",
        ),
        "a session with one of the targets is missing": Plant(
            on_initiator(
                f"{OF_SECOND_TARGET} -p 172.16.1.1 --logout",
                f"{OF_SECOND_TARGET} -p 172.16.1.1 --login",
            ),
            "target iqn.2026-01.io.pathproof:storage-2: path b has 0 sessions instead of one",
        ),
    },
    "ipv6": {
        "an address is missing": Plant(
            on_target(
                "ip address del fd00:172:16::1/64 dev {a}",
                "ip address add fd00:172:16::1/64 dev {a} nodad",
            ),
            "the target has no address fd00:172:16::1, which belongs on {ta}, its NIC a",
            by_network=True,
        ),
    },
    "ports": {
        "a session is missing at the second port": Plant(
            on_initiator(
                "iscsiadm -m node -p 172.16.0.1:3261 --logout",
                "iscsiadm -m node -p 172.16.0.1:3261 --login",
            ),
            "path a2 has 0 sessions instead of one",
        ),
    },
    "jumbo": {
        "the initiator's MTU is small": Plant(
            on_initiator("ip link set {a} mtu 1500", "ip link set {a} mtu 9000"),
            "the MTU of {a} of the initiator is 1500, not 9000",
            by_network=True,
        ),
        "the target's MTU is small": Plant(
            on_target("ip link set {a} mtu 1500", "ip link set {a} mtu 9000"),
            "the MTU of {ta} of the target is 1500, not 9000",
            by_network=True,
        ),
        "frames are cut on their way back": Plant(
            on_target(
                "ip route add 172.16.0.101 dev {a} mtu 1500", "ip route del 172.16.0.101 dev {a}"
            ),
            "172.16.0.1, the address of portal a, answers an echo request of 9000 bytes in "
            "fragments: its own MTU is smaller",
            by_network=True,
        ),
    },
    "vlan": {
        "the target is in no VLAN": Plant(
            on_target(
                "ip link del {a}.101",
                "ip link add link {a} name {a}.101 type vlan id 101\n"
                "ip address add 172.16.0.1/24 dev {a}.101\nip link set {a}.101 up",
            ),
            "the target has no device {ta}.101, its NIC a",
            by_network=True,
        ),
        "the target is in another VLAN": Plant(
            on_target(
                "ip link del {a}.101\nip link add link {a} name {a}.101 type vlan id 103\n"
                "ip address add 172.16.0.1/24 dev {a}.101\nip link set {a}.101 up",
                "ip link del {a}.101\nip link add link {a} name {a}.101 type vlan id 101\n"
                "ip address add 172.16.0.1/24 dev {a}.101\nip link set {a}.101 up",
            ),
            "no machine answers for 172.16.0.1 on {a}.101 (link a)",
            by_network=True,
        ),
    },
    "two-initiators": {
        "the second initiator's cables are crossed": Plant(
            scripted(
                masking_plants.SECOND,
                SWAPPED.replace(".101/", ".102/"),
                SWAPPED_BACK.replace(".101/", ".102/"),
            ),
            "initiator second's address 172.16.0.102 is on {second_b}, its NIC second-b, and not "
            "on {second_a}, its NIC second-a",
        ),
        "the second initiator sees a LUN of the first one": Plant(
            masking_plants.unmasked, "initiator second sees lun0 (3600"
        ),
        "the second initiator may write to what it is to read": Plant(
            masking_plants.unprotected, "of initiator second can be written to, and the LUN 3600"
        ),
    },
    "eight": {
        "the last portal's address is missing": Plant(
            on_target(
                "ip address del 172.16.1.4/24 dev {b}", "ip address add 172.16.1.4/24 dev {b}"
            ),
            "the target has no address 172.16.1.4, which belongs on {tb}, its NIC b",
            by_network=True,
        ),
        "two sessions lead to one portal": Plant(
            two_sessions_to_one_portal, "path a1 has 2 sessions instead of one"
        ),
    },
    "luns": {
        "one LUN is missing on one path": Plant(
            on_initiator(
                "disk=$(readlink -f /dev/disk/by-path/ip-172.16.1.1:3260-iscsi-*-lun-2)\n"
                "echo 1 >/sys/block/${{disk##*/}}/device/delete",
                "iscsiadm --mode session --rescan\nudevadm settle",
            ),
            "path b reaches no LUN with WWID ",
        ),
    },
    "routed": {
        "the route is missing": Plant(
            on_initiator(
                "ip route del 172.17.0.1", "ip route add 172.17.0.1 via 172.16.0.1 dev {a}"
            ),
            "the initiator has no route to portal 172.17.0.1:3260 (a)",
            by_network=True,
        ),
        "the route leads over another router": Plant(
            on_initiator(
                "ip route replace 172.17.0.1 via 172.16.1.1 dev {b}",
                "ip route replace 172.17.0.1 via 172.16.0.1 dev {a}",
            ),
            "packets to portal 172.17.0.1:3260 (a) leave by {b}, the NIC of link b, and not by {a}",
            by_network=True,
        ),
        "the portal's address is missing": Plant(
            on_target("ip address del 172.17.0.1/32 dev lo", "ip address add 172.17.0.1/32 dev lo"),
            "the target has no address 172.17.0.1, a portal behind a router",
            by_network=True,
        ),
    },
}


def filled_in(testbed: Testbed, says: str) -> str:
    """The text with the names that this testbed has."""
    before = {Role.INITIATOR.value: "", Role.TARGET.value: "t"}
    names = {
        f"{before.get(machine, f'{machine}_')}{end}": nic(testbed, machine, number)
        for machine in (Role.TARGET.value, *testbed.topology.initiators)
        for end, number in (("a", 0), ("b", -1))
    }
    return says.format(paths=" ".join(path.name for path in testbed.topology.paths), **names)
