"""From the configuration to every address, link and path of a testbed."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.config.model import TargetConfig
from harness.config.networks import PortalConfig
from harness.config.ready import ready_topologies
from harness.topology import Portal, Role, Topology, management_mac, plan

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,23}", fullmatch=True)
FOUR = ("a1", "a2", "b1", "b2")
PATHS = {
    "two": ("a", "b"),
    "active-passive": ("a", "b"),
    "ipv6": ("a", "b"),
    "jumbo": ("a", "b"),
    "ports": FOUR,
    "routed": ("a", "b"),
    "vlan": ("a", "b"),
    "four": FOUR,
    "two-controllers": FOUR,
    "eight": ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4"),
    "one-subnet": ("a-nic1", "a-nic2"),
    "luns": ("a", "b"),
    "two-initiators": ("a", "second-a", "b", "second-b"),
    "two-targets": ("a", "b"),
}


def ready(name: str) -> Topology:
    """A topology that comes with the harness."""
    return plan(Config.model_validate(ready_topologies()[name]))


def data_macs(topology: Topology) -> list[str]:
    return [nic.mac for machine in topology.machines for nic in topology.nics(machine.name)]


def test_the_configuration_alone_decides() -> None:
    """Another process, years later, plans the same."""
    assert plan(Config()) == plan(Config())
    assert (
        plan(Config()).luns[0].serial
        == "7043dfe0435de773ca03bbf04" + plan(Config()).luns[0].serial[25:]
    )


def test_each_role_has_its_end_of_each_link() -> None:
    """With its own address and MAC; the portal is at the target's."""
    topology = plan(Config())
    link, network = topology.link("b"), topology.network("b")
    assert str(topology.portal("b").portal) == "172.16.1.1:3260"
    assert network.addresses(Role.TARGET) == (IPv4Address("172.16.1.1"),)
    assert network.addresses(Role.INITIATOR) == (IPv4Address("172.16.1.101"),)
    assert link.address == IPv4Address("172.16.1.101")
    at_target, at_initiator = (topology.nic_at(role, "b") for role in Role)
    assert at_target.mac == link.target_mac != at_initiator.mac == link.initiator_mac
    assert (at_target.addresses, at_initiator.addresses) == (
        ("172.16.1.1/24",),
        ("172.16.1.101/24",),
    )


def test_portals_are_where_the_target_listens() -> None:
    """A port other than the registered one is passed on, unless the portal has its own."""
    topology = plan(Config(target=TargetConfig(port=3261)))
    assert [str(p.portal) for p in topology.portals] == ["172.16.0.1:3261", "172.16.1.1:3261"]
    networks = Config().model_dump()["networks"]
    networks[1]["portals"] = ["172.16.1.1:3262"]
    topology = plan(Config.model_validate({"networks": networks, "target": {"port": 3261}}))
    assert [str(p.portal) for p in topology.portals] == ["172.16.0.1:3261", "172.16.1.1:3262"]


@pytest.mark.parametrize("what", ["network", "link", "portal", "path"])
def test_an_unknown_name_is_refused_with_those_that_there_are(what: str) -> None:
    """A misspelt parameter is seen at once."""
    with pytest.raises(KeyError, match=rf"no {what} 'c'; there are \['a', 'b'\]"):
        getattr(plan(Config()), what)("c")


@given(NAMES)
def test_macs_are_qemus_and_all_different(name: str) -> None:
    """Within a testbed, its management NICs included."""
    macs = [*data_macs(plan(Config(name=name))), *(management_mac(role) for role in Role)]
    assert len(set(macs)) == len(macs)
    for mac in macs:
        assert mac.startswith("52:54:00:")
        assert len(bytes.fromhex(mac.replace(":", ""))) == 6


@given(NAMES, NAMES)
def test_two_testbeds_on_one_bridge_do_not_share_addresses_or_serials(one: str, two: str) -> None:
    """Equal serials would merge different disks into one map."""
    first, second = plan(Config(name=one)), plan(Config(name=two))
    assert (first.luns[0].serial == second.luns[0].serial) == (one == two)
    assert (data_macs(first) == data_macs(second)) == (one == two)


def test_the_target_name_is_part_of_a_luns_identity() -> None:
    """Two targets of one testbed do not serve the same disk."""
    other = Config(target=TargetConfig(iqn="iqn.2026-01.io.pathproof:other"))
    assert plan(other).luns[0].serial != plan(Config()).luns[0].serial


def on_bridge(host: int, **more: Any) -> Config:
    """With one cable, and one bridge where the target's address ends in `host`."""
    cable, other = Config().networks
    portal = PortalConfig(address=other.subnet.network_address + host)
    bridged = other.model_copy(update={"bridge": "br-san", "portals": (portal,)})
    return Config(networks=(cable, bridged), **more)


def test_runs_on_one_network_differ_in_their_macs() -> None:
    """Else one that asks on the wire who has its addresses would look like who has them.

    Not so on a cable: forks have the MAC addresses of the snapshot.
    """
    one, two = plan(on_bridge(1), "run 1"), plan(on_bridge(1), "run 2")
    for role in Role:
        assert one.nic_at(role, "a").mac == two.nic_at(role, "a").mac
        assert one.nic_at(role, "b").mac != two.nic_at(role, "b").mac
    assert one.luns == two.luns
    assert [network.name for network in one.shared] == ["b"]
    assert [link.name for link in one.cables] == ["a"]


def test_luns_on_one_network_differ_by_the_addresses_of_their_targets() -> None:
    """Two testbeds of one name can be there at once if their addresses differ."""
    assert plan(on_bridge(1)).luns[0].serial != plan(on_bridge(2)).luns[0].serial


def test_every_ready_topology_is_known_here() -> None:
    """So that the tests below are of all of them."""
    assert set(ready_topologies()) == set(PATHS)


@pytest.mark.parametrize("name", PATHS)
def test_a_ready_topology_has_the_paths_that_it_promises(name: str) -> None:
    """A path from each link to each portal of its network, each with a name of its own."""
    topology = ready(name)
    assert tuple(path.name for path in topology.paths) == PATHS[name]
    for path in topology.paths:
        assert path == topology.path(path.name)
        assert path.link.network == path.portal.network
        assert path.name in topology.over_link(path.link.name)
        assert path.name in topology.over_portal(path.portal.name)
    ways = {(path.link.address, path.portal.portal) for path in topology.paths}
    assert len(ways) == len(PATHS[name])


@pytest.mark.parametrize("name", PATHS)
def test_macs_of_a_ready_topology_are_all_different(name: str) -> None:
    """Two NICs of one role and network included."""
    topology = ready(name)
    macs = [*data_macs(topology), *(management_mac(role) for role in Role)]
    assert len(set(macs)) == len(macs) == 2 * (len(topology.links) + 1)


def test_the_portals_of_a_network_are_numbered() -> None:
    """Their paths share a link, whose name is the network's."""
    topology = ready("four")
    assert [link.name for link in topology.links] == ["a", "b"]
    assert [portal.name for portal in topology.portals] == list(FOUR)
    assert topology.over_link("a") == ("a1", "a2")
    assert topology.over_portal("b2") == ("b2",)
    assert topology.nic_at(Role.TARGET, "a").addresses == ("172.16.0.1/24", "172.16.0.2/24")
    assert str(topology.path("b2")) == "b2 (172.16.1.101 to 172.16.1.2:3260)"


def test_two_nics_in_one_subnet_are_a_link_each_to_a_switch_in_the_target() -> None:
    """Its portal is at the bridge, and not at one of the NICs."""
    topology = ready("one-subnet")
    assert [link.name for link in topology.links] == ["a-nic1", "a-nic2"]
    assert [portal.name for portal in topology.portals] == ["a"]
    assert topology.over_portal("a") == ("a-nic1", "a-nic2")
    for number, (at_target, at_initiator) in enumerate(zip(*map(topology.nics, Role), strict=True)):
        link = topology.links[number]
        assert (at_target.links, at_initiator.links) == ((link.name,), (link.name,))
        assert (at_target.bridge, at_initiator.bridge) == ("br-a", "")
        assert at_target.addresses == ("172.16.0.1/24",)
        assert at_initiator.addresses == (f"172.16.0.10{number + 1}/24",)
    assert topology.cables == topology.links


def test_where_others_are_the_target_has_one_nic_for_all_links() -> None:
    """The network is the switch."""
    networks = ready_topologies()["one-subnet"]["networks"]
    shared = {**networks[0], "bridge": "br-san"}
    topology = plan(Config.model_validate({"networks": [shared]}))
    (at_target,) = topology.nics(Role.TARGET)
    assert (at_target.links, at_target.bridge) == (("a-nic1", "a-nic2"), "")
    assert len(topology.nics(Role.INITIATOR)) == 2
    assert topology.cables == ()


def test_a_session_is_the_path_of_its_portal() -> None:
    """By whatever interface, where one link leads there; an unplanned portal is no path."""
    topology = ready("four")
    for path in topology.paths:
        for iface in ("default", "somebody's"):
            assert topology.path_of(path.portal.portal, iface, topology.target_iqn) == path
    for portal in (Portal(ip_address("172.16.0.3")), Portal(ip_address("172.16.0.1"), 3261), None):
        assert topology.path_of(portal, "default", topology.target_iqn) is None


def test_sessions_to_one_portal_are_told_apart_by_their_interfaces() -> None:
    """One by an interface that was not planned could be either, so it is none."""
    topology = ready("one-subnet")
    (portal,) = topology.portals
    interfaces = [link.iface for link in topology.links]
    assert interfaces == ["pathproof-a-nic1", "pathproof-a-nic2"]
    for path, iface in zip(topology.paths, interfaces, strict=True):
        assert topology.path_of(portal.portal, iface, topology.target_iqn) == path
    assert topology.path_of(portal.portal, "default", topology.target_iqn) is None


@pytest.mark.parametrize("name", PATHS)
def test_the_initiators_addresses_tell_the_links_apart(name: str) -> None:
    """What is not an address of a planned NIC is on no link."""
    topology = ready(name)
    for link in topology.links:
        assert topology.link_of(link.address) == link
    assert topology.link_of(topology.portals[0].portal.address) is None
    assert topology.link_of(None) is None


def test_a_portal_has_the_access_state_of_its_controller() -> None:
    """Without controllers every portal is optimized."""
    topology = ready("two-controllers")
    assert [controller.name for controller in topology.controllers] == ["c1", "c2"]
    assert {p.name: (p.controller, topology.access_state(p)) for p in topology.portals} == {
        "a1": ("c1", "optimized"),
        "a2": ("c2", "non-optimized"),
        "b1": ("c1", "optimized"),
        "b2": ("c2", "non-optimized"),
    }
    four = ready("four")
    assert {four.access_state(portal) for portal in four.portals} == {"optimized"}
    with pytest.raises(KeyError, match=r"no controller 'c3'; there are \['c1', 'c2'\]"):
        topology.controller("c3")
