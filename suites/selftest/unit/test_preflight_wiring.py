"""Preflight: networks that are wired otherwise than planned, each with its cause."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from harness.config import Config, load
from harness.config.ready import ready_topologies
from harness.errors import MachineError, PreflightFailed
from harness.preflight import End, require_wired
from harness.preflight.nics import Device, nic_problems, parse_devices
from harness.preflight.subnet import parse_settings, settings_script, subnet_problems
from harness.preflight.ways import Neighbour, Way, Ways, parse_ways, way_problems, ways_script
from harness.preflight.wiring import wiring_problems
from harness.topology import Role, Topology, plan
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
ADDRESSES = (RECORDED / "iproute2-6.1.0-address.json").read_text()
DEVICES = parse_devices(ADDRESSES)
NAMES = {"a": "eth0", "b": "eth1"}


def ready(name: str, **more: Any) -> Topology:
    return plan(load(None, {"topology": (name, "--topology")} | more).config)


def ways_of(name: str) -> Ways:
    return parse_ways((RECORDED / f"pathproof-ways-iproute2-6.1.0-{name}.txt").read_text())


TWO, ONE_SUBNET = ready("two"), ready("one-subnet")
WAYS = ways_of("two")
IN_ONE = {"a-nic1": "eth0", "a-nic2": "eth1"}
IQN = ONE_SUBNET.target_iqn


def at(device: str, **changed: Any) -> list[Device]:
    """The initiator's devices, one of them changed."""
    return [replace(one, **changed) if one.name == device else one for one in DEVICES]


def nic_causes(devices: list[Device], topology: Topology = TWO) -> list[str]:
    return [p.cause for p in nic_problems(Role.INITIATOR, topology, NAMES, devices)]


def test_devices_are_read_with_their_addresses() -> None:
    """An address that is still asked for cannot be used."""
    loopback, eth0, _ = DEVICES
    assert loopback.addresses == (ip_address("127.0.0.1"), ip_address("::1"))
    assert (eth0.name, eth0.mtu, eth0.has_carrier) == ("eth0", 1500, True)
    assert eth0.mac == TWO.link("a").initiator_mac
    own, by_itself = eth0.addresses
    assert own == TWO.link("a").address
    assert eth0.unusable == (by_itself,)  # recorded a second after the NIC came up


@pytest.mark.parametrize("text", ["", "[1]", '{"ifname": "eth0"}', '[{"ifname": "eth0"}]'])
def test_what_is_no_list_of_devices_is_an_error(text: str) -> None:
    with pytest.raises(MachineError, match="not a list of network devices"):
        parse_devices(text)


def test_nics_that_are_as_planned_are_no_problem() -> None:
    """Nor are addresses that others gave them."""
    assert nic_causes(list(DEVICES)) == []


def test_addresses_that_are_exchanged_are_told_with_both_nics() -> None:
    """As if the cables were crossed."""
    first, second = (one.addresses for one in DEVICES[1:])
    a, b = (replace(DEVICES[1], addresses=second), replace(DEVICES[2], addresses=first))
    assert [cause.partition(":")[0] for cause in nic_causes([a, b])] == [
        "the initiator's address 172.16.0.101 is on eth1, its NIC b, and not on eth0, its NIC a",
        "the initiator's address 172.16.1.101 is on eth0, its NIC a, and not on eth1, its NIC b",
    ]


def test_an_address_that_is_missing_or_not_to_be_used_is_told() -> None:
    """Another machine has it, if the kernel says so."""
    assert nic_causes(at("eth0", addresses=())) == [
        "the initiator has no address 172.16.0.101, which belongs on eth0, its NIC a"
    ]
    (cause,) = nic_causes(at("eth0", unusable=(ip_address("172.16.0.101"),)))
    assert cause.startswith("the initiator cannot use its address 172.16.0.101 on eth0")


def test_a_nic_without_carrier_or_gone_is_told() -> None:
    """Recorded while the other end of network b was down."""
    recorded = (RECORDED / "iproute2-6.1.0-address-no-carrier.json").read_text()
    assert nic_causes(list(parse_devices(recorded))) == [
        "eth1 of the initiator, its NIC b, has no carrier"
    ]
    assert nic_causes(list(DEVICES[:2])) == ["the initiator has no device eth1, its NIC b"]


def test_the_mtu_counts_where_it_is_configured() -> None:
    """Of the NIC, and of the VLAN's device on it."""
    jumbo = ready("jumbo")
    both = "the MTU of eth0 of the initiator is 1500, not 9000"
    assert nic_causes(at("eth1", mtu=9000), jumbo) == [both]
    assert nic_causes([replace(one, mtu=9000) for one in DEVICES], jumbo) == []
    networks = load(None, {"topology": ("vlan", "--topology")}).config.networks
    tagged = plan(Config(networks=tuple(n.model_copy(update={"mtu": 9000}) for n in networks)))
    on_nic = [replace(one, mtu=9000, addresses=()) for one in DEVICES]
    on_vlan = [
        replace(one, name=f"{one.name}.{vlan}")
        for one, vlan in zip(DEVICES[1:], (101, 102), strict=True)
    ]
    assert nic_causes([*on_nic, *on_vlan], tagged) == [
        "the MTU of eth0.101 of the initiator is 1500, not 9000",
        "the MTU of eth1.102 of the initiator is 1500, not 9000",
    ]


def test_a_router_has_the_addresses_behind_it() -> None:
    """On whatever device."""
    routed = ready("routed")
    target = [
        Device("lo", "", 65536, has_carrier=True, addresses=(ip_address("172.17.0.1"),)),
        Device("eth0", "", 1500, has_carrier=True, addresses=(ip_address("172.16.0.1"),)),
        Device("eth1", "", 1500, has_carrier=True, addresses=(ip_address("172.16.1.1"),)),
    ]
    causes = [p.cause for p in nic_problems(Role.TARGET, routed, NAMES, target)]
    assert causes == ["the target has no address 172.17.1.1, a portal behind a router"]


def way_causes(
    ways: Ways, topology: Topology = TWO, devices: Mapping[str, str] = NAMES
) -> list[str]:
    return [problem.cause for problem in way_problems(topology, devices, ways)]


def test_ways_are_read() -> None:
    """Of the route the device and the router, of a neighbour its MAC address."""
    assert WAYS.routes == {"a": Way("eth0"), "b": Way("eth1")}
    neighbour = WAYS.neighbours["eth0", ip_address("172.16.0.1")]
    assert neighbour == Neighbour(TWO.link("a").target_mac, "REACHABLE")
    assert WAYS.bound == {}
    assert ways_of("routed").routes["a"] == Way("eth0", ip_address("172.16.0.1"))


def test_the_record_of_every_target_is_asked_for() -> None:
    """Each has an interface of its own kept in it."""
    lun = {"size": "64MiB"}
    described = {
        **ready_topologies()["one-subnet"],
        "luns": [{**lun, "target_iqn": f"{IQN}2"}, lun],
    }
    topology = plan(Config.model_validate(described))
    script = ways_script(topology, IN_ONE)
    titles = re.findall(r"^echo '== bound (.*)'$", script, re.MULTILINE)
    assert titles == [f"a-nic{nic} {iqn}" for nic in (1, 2) for iqn in (f"{IQN}2", IQN)]
    routes = {"a-nic1": Way("eth0"), "a-nic2": Way("eth1")}
    bound = {("a-nic1", IQN): "eth0", ("a-nic2", f"{IQN}2"): "eth0"}
    (cause,) = way_causes(Ways(routes, {}, bound), topology, IN_ONE)
    assert "path a-nic2 logs in, is bound to eth0 instead of eth1" in cause


def test_records_of_interfaces_are_read() -> None:
    """One that is bound to no NIC has no name in its record; one that is not there says nothing."""
    text = "== neighbours\n[]\n== bound x iqn\neth0\n== bound y iqn\n<empty>\n== bound z iqn\n"
    assert parse_ways(text) == Ways({}, {}, {("x", "iqn"): "eth0", ("y", "iqn"): ""})


@pytest.mark.parametrize("text", ["== neighbours\n{", "== route a\n[{}]\n", "== route a\n[]"])
def test_what_are_no_ways_is_an_error(text: str) -> None:
    with pytest.raises(MachineError, match="not the ways to portals"):
        parse_ways(text)


def test_only_paths_by_an_interface_of_their_own_have_records_looked_up() -> None:
    """And are routed by their NIC."""
    assert "iscsiadm" not in ways_script(TWO, NAMES)
    script = ways_script(ONE_SUBNET, IN_ONE)
    assert "ip -json route get 172.16.0.1 oif eth1 " in script
    assert "--portal 172.16.0.1:3260 --interface pathproof-a-nic2 " in script


@pytest.mark.parametrize("name", ["two", "routed"])
def test_ways_that_are_as_planned_are_no_problem(name: str) -> None:
    assert way_causes(ways_of(name), ready(name)) == []


def test_a_route_over_another_nic_is_told_with_its_link() -> None:
    """Or none at all, or over a router that was not planned."""
    wrong = replace(WAYS, routes={"a": Way("eth0"), "b": Way("eth0")})
    (cause,) = way_causes(wrong)
    assert cause == (
        "packets to portal 172.16.1.1:3260 (b) leave by eth0, the NIC of link a, and not by eth1, "
        "the NIC of link b"
    )
    none = replace(WAYS, routes={"a": Way("eth0")})
    assert way_causes(none) == ["the initiator has no route to portal 172.16.1.1:3260 (b)"]
    router = replace(WAYS, routes={**WAYS.routes, "b": Way("eth1", ip_address("172.16.1.9"))})
    assert way_causes(router) == [
        "packets to portal 172.16.1.1:3260 (b) go through router 172.16.1.9 instead of none"
    ]


def test_a_portal_behind_a_router_is_reached_through_it() -> None:
    found = ways_of("routed")
    direct = replace(found, routes={**found.routes, "a": Way("eth0")})
    assert way_causes(direct, ready("routed")) == [
        "packets to portal 172.17.0.1:3260 (a) go through no router instead of router 172.16.0.1"
    ]


def test_cables_that_are_crossed_are_seen_by_who_answers() -> None:
    """By its MAC address, which is that of another link, or of no link."""
    place = ("eth0", ip_address("172.16.0.1"))
    crossed = {place: Neighbour(TWO.link("b").target_mac, "REACHABLE")}
    (cause,) = way_causes(replace(WAYS, neighbours={**WAYS.neighbours, **crossed}))
    assert cause.startswith("the machine that answers for 172.16.0.1 on eth0 (link a) has MAC ")
    assert cause.endswith("which is the target's NIC of link b: cables are crossed")
    stranger = {place: Neighbour("52:54:00:00:00:01", "STALE")}
    (cause,) = way_causes(replace(WAYS, neighbours=stranger))
    assert cause.endswith("no NIC of the target: another machine has the address")


def test_who_answers_for_an_external_target_is_its_own_affair() -> None:
    """Its MAC addresses are not known."""
    external = replace(TWO, guests=(Role.INITIATOR,))
    strangers = {place: Neighbour("00:00:5e:00:01:01", "") for place in WAYS.neighbours}
    assert way_causes(replace(WAYS, neighbours=strangers), external) == []


def test_an_address_that_no_machine_has_is_told() -> None:
    """Recorded while the target had none on network b."""
    assert way_causes(ways_of("two-unanswered")) == [
        "no machine answers for 172.16.1.1 on eth1 (link b), the way to portal 172.16.1.1:3260 (b)"
    ]


@pytest.mark.parametrize(("found", "told"), [("", "no NIC"), ("eth0", "eth0")])
def test_an_interface_that_is_not_bound_to_its_nic_is_told(found: str, told: str) -> None:
    routes = {"a-nic1": Way("eth0"), "a-nic2": Way("eth1")}
    bound = {("a-nic1", IQN): "eth0", ("a-nic2", IQN): found}
    (cause,) = way_causes(Ways(routes, {}, bound), ONE_SUBNET, IN_ONE)
    assert f"path a-nic2 logs in, is bound to {told} instead of eth1" in cause


SETTINGS = {
    (place, name): value
    for place, values in {"all": (0, 0, 0), "eth0": (1, 2, 2), "eth1": (1, 2, 2)}.items()
    for name, value in zip(("arp_ignore", "arp_announce", "rp_filter"), values, strict=True)
}


def subnet_causes(changed: Mapping[tuple[str, str], int]) -> list[str]:
    return [p.cause for p in subnet_problems(ONE_SUBNET, IN_ONE, SETTINGS | dict(changed))]


@pytest.mark.parametrize(
    "fit",
    [
        {},
        {("eth0", "arp_ignore"): 2, ("eth1", "rp_filter"): 0},
        {("all", "arp_ignore"): 1, ("eth0", "arp_ignore"): 0, ("eth1", "arp_ignore"): 0},
        {("all", "rp_filter"): 1},
        {("all", "rp_filter"): 2, ("eth0", "rp_filter"): 1},
    ],
)
def test_settings_that_keep_nics_apart_are_no_problem(fit: dict[tuple[str, str], int]) -> None:
    """The larger value of `all` and the NIC is in force."""
    assert subnet_causes(fit) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({("eth1", "arp_ignore"): 0}, "arp_ignore of eth1, one of 2 NICs of the initiator on net"),
        ({("eth1", "arp_announce"): 1}, "arp_announce of eth1"),
        ({("eth0", "rp_filter"): 1}, "rp_filter of eth0"),
        (
            {("eth0", "rp_filter"): 0, ("all", "rp_filter"): 1},
            "is 1, by net.ipv4.conf.all.rp_filter: it drops what arrives there",
        ),
        ({("all", "arp_ignore"): 8, ("eth0", "arp_ignore"): 8}, "arp_ignore of eth1"),
    ],
)
def test_settings_that_mix_nics_up_are_told(wrong: dict[tuple[str, str], int], says: str) -> None:
    """As they ship, or as an administrator has set them for all NICs."""
    assert any(says in cause for cause in subnet_causes(wrong))


def test_settings_as_they_ship_are_all_told() -> None:
    """Three of each NIC, whose rp_filter is 1 where a distribution is careful."""
    shipped = {key: 1 if key[1] == "rp_filter" else 0 for key in SETTINGS}
    assert len(subnet_causes(shipped)) == 6
    without = {key: value for key, value in SETTINGS.items() if key[0] != "eth1"}
    causes = [p.cause for p in subnet_problems(ONE_SUBNET, IN_ONE, without)]
    assert causes == [
        f"{n} of eth1 is not known" for n in ("arp_ignore", "arp_announce", "rp_filter")
    ]


def test_a_nic_alone_in_its_subnet_may_be_as_it_ships() -> None:
    """Nothing is asked for it."""
    assert settings_script([]) == ""
    assert list(subnet_problems(TWO, NAMES, {})) == []


def test_settings_are_read() -> None:
    """Those of this very host, whatever they are; the name of a VLAN's device has a dot."""
    done = subprocess.run(["sh", "-euc", settings_script(["lo"])], capture_output=True, check=True)
    found = parse_settings(done.stdout.decode())
    assert {place for place, _ in found} == {"all", "lo"}
    assert len(found) == 6
    vlan = "/proc/sys/net/ipv4/conf/eth0.5/arp_ignore:10\n"
    assert parse_settings(vlan) == {("eth0.5", "arp_ignore"): 10}


@pytest.mark.parametrize("text", ["all rp_filter", "/proc/sys/net/ipv4/conf/all/rp_filter:", ":1"])
def test_what_are_no_settings_is_an_error(text: str) -> None:
    with pytest.raises(MachineError, match="not a setting"):
        parse_settings(text)


def test_each_machine_is_looked_at_and_all_is_told() -> None:
    """The initiator is asked for its ways, too: an existing machine as well."""

    ways = (RECORDED / "pathproof-ways-iproute2-6.1.0-two-unanswered.txt").read_text()

    def answer(asked: Asked) -> Answer:
        is_initiator = "neighbour" in asked.argv[-1]
        return Answer(f"{ADDRESSES}{ways}== settings\n" if is_initiator else ADDRESSES)

    machines = {role: ScriptedMachine(answer) for role in Role}
    ends = [End(role, machine, NAMES) for role, machine in machines.items()]
    with pytest.raises(PreflightFailed) as caught:
        require_wired(TWO, ends)
    assert [problem.cause.partition(",")[0] for problem in caught.value.problems] == [
        "the target has no address 172.16.0.1",
        "the target has no address 172.16.1.1",
        "no machine answers for 172.16.1.1 on eth1 (link b)",
    ]
    assert len(machines[Role.TARGET].asked) == 1


def looked_at(name: str, answers: Mapping[str, str]) -> list[str]:
    """What is found with a ready topology; answers to the commands that have these words."""

    def answer(asked: Asked) -> Answer:
        words = " ".join(asked.argv)
        return Answer(next(said for key, said in answers.items() if key in words))

    topology = ready(name)
    nics = {link.name: f"eth{number}" for number, link in enumerate(topology.links)}
    found = wiring_problems(topology, [End(Role.INITIATOR, ScriptedMachine(answer), nics)])
    return [problem.cause for problem in found]


def test_settings_and_frames_are_looked_at_where_they_count() -> None:
    """Of NICs that share a subnet, and where an MTU is configured."""
    shipped = "".join(f"/proc/sys/net/ipv4/conf/{place}/{name}:0\n" for place, name in SETTINGS)
    ways = "[]\n== neighbours\n[]\n== settings\n"
    causes = looked_at("one-subnet", {"ip -json neighbour": ways + shipped})
    assert [cause.split(",")[0] for cause in causes if "arp_" in cause] == [
        "arp_ignore of eth0",
        "arp_announce of eth0",
        "arp_ignore of eth1",
        "arp_announce of eth1",
    ]
    lost = '{"device": "eth0", "address": "172.16.0.1", "answer": "lost"}\n'
    causes = looked_at("jumbo", {"ip -json neighbour": ways, "python3": lost})
    assert "172.16.0.1, the address of portal a, does not answer an echo request of" in causes[-2]
    assert "172.16.1.1, the address of portal b, answers no echo request at all" in causes[-1]
