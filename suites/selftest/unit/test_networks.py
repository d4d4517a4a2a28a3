"""Networks and their portals, as a file may have them."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.config.networks import NetworkConfig, default_networks
from harness.hypervisor.domain_xml import NIC_SLOTS
from harness.topology import Role, plan
from suites.selftest.unit.config_file import OTHER, V6, VIA, complaint, loaded, network, routed


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("written", "portal"),
    [
        ('"10.1.0.1"', "10.1.0.1:3260"),
        ('"10.1.0.1:3261"', "10.1.0.1:3261"),
        ('{ address = "10.1.0.1" }', "10.1.0.1:3260"),
        ('{ address = "10.1.0.1", port = 3261 }', "10.1.0.1:3261"),
    ],
)
def test_a_portal_is_written_as_people_write_it(written: str, portal: str) -> None:
    """As an address, with a port, or as a table; without a port it has that of the target."""
    topology = plan(loaded(network(written) + OTHER).config)
    assert [str(one.portal) for one in topology.portals] == [portal, "10.2.0.1:3260"]


@pytest.mark.parametrize(
    ("written", "portal"),
    [
        ('"fd00::1"', "[fd00::1]:3260"),
        ('"[fd00::1]"', "[fd00::1]:3260"),
        ('"[fd00::1]:3261"', "[fd00::1]:3261"),
        ('{ address = "fd00::1", port = 3261 }', "[fd00::1]:3261"),
        # Without brackets a port cannot be told from the address: it is none.
        ('"fd00::1:3261"', "[fd00::1:3261]:3260"),
    ],
)
def test_a_portal_of_ipv6_has_its_port_behind_brackets(written: str, portal: str) -> None:
    """RFC 3986 section 3.2.2, as iscsiadm(8) has it."""
    topology = plan(loaded(network(written, **V6) + OTHER).config)
    assert [str(one.portal) for one in topology.portals] == [portal, "10.2.0.1:3260"]


def test_a_port_of_its_own_comes_before_that_of_the_target() -> None:
    """Which all the others have."""
    text = "target.port = 4000\n" + network('"10.1.0.1:3261", "10.1.0.1"') + OTHER
    topology = plan(loaded(text).config)
    assert [str(one.portal) for one in topology.portals] == [
        "10.1.0.1:3261",
        "10.1.0.1:4000",
        "10.2.0.1:4000",
    ]
    assert [str(one) for one in topology.networks[0].addresses(Role.TARGET)] == ["10.1.0.1"]


@pytest.mark.parametrize(
    ("portals", "key", "given"),
    [
        ('"10.1.0"', "network a, portal 1, address", "10.1.0"),
        ('"10.1.0.1", "storage.lab"', "network a, portal 2, address", "storage.lab"),
        ('"10.1.0.1:port"', "network a, portal 1, address", "10.1.0.1:port"),
        ('"[fd00::1"', "network a, portal 1, address", "[fd00::1"),
        ('"10.1.0.1:0"', "network a, portal 1, port", "0"),
        ('"10.1.0.1:65536"', "network a, portal 1, port", "65536"),
        ('{ address = "10.1.0.1", port = 0 }', "network a, portal 1, port", "0"),
    ],
)
def test_what_is_no_portal_is_named_with_its_place(portals: str, key: str, given: str) -> None:
    """And with what was given, once."""
    (line,) = complaint(network(portals) + OTHER).splitlines()
    assert line.startswith(f"own.toml: {key}: ")
    assert given in line


def test_a_wrong_key_of_a_portal_is_named_with_the_one_that_was_meant() -> None:
    """And with those that a portal may have."""
    text = complaint(network('{ address = "10.1.0.1", prot = 3261 }') + OTHER)
    assert text == (
        "own.toml: network a, portal 1: unknown key 'prot'; did you mean 'port'? "
        "(allowed: address, port, controller, iqn, via)"
    )


def test_a_network_needs_a_portal() -> None:
    """One without is a mistake, however many paths the others make."""
    assert complaint(network("") + OTHER + OTHER).startswith("own.toml: network a, portals: ")


def test_the_initiator_may_have_one_address_or_several() -> None:
    """One may be written without brackets."""
    one = loaded(network('"10.1.0.1"') + OTHER).config.networks[0]
    assert one.initiator == (ip_address("10.1.0.101"),)
    assert loaded(network('"10.1.0.1"', '["10.1.0.101"]') + OTHER).config.networks[0] == one
    several = loaded(network('"10.1.0.1"', '["10.1.0.101", "10.1.0.102"]')).config
    assert [path.name for path in plan(several).paths] == ["a-nic1", "a-nic2"]
    assert complaint(network('"10.1.0.1"', "[]") + OTHER).startswith("own.toml: network a, initi")


@pytest.mark.parametrize(
    ("portals", "initiator", "says"),
    [
        ('"10.1.0.1", "10.3.0.1"', '"10.1.0.101"', "10.3.0.1 is not in 10.1.0.0/24; a portal"),
        (
            '"10.1.0.1"',
            '["10.1.0.101", "10.3.0.1"]',
            "the initiator's address 10.3.0.1 is not in 10.1.0.0/24",
        ),
        ('"10.1.0.1"', '"fd00::1"', "the initiator's address fd00::1 is not in 10.1.0.0/24"),
        ('"10.1.0.0"', '"10.1.0.101"', "10.1.0.0 is the network address of 10.1.0.0/24"),
        ('"10.1.0.255"', '"10.1.0.101"', "10.1.0.255 is the broadcast address of 10.1.0.0/24"),
        ('"10.1.0.1"', '"10.1.0.255"', "10.1.0.255 is the broadcast address of 10.1.0.0/24"),
        ('"10.1.0.1", "10.1.0.2"', '["10.1.0.3", "10.1.0.2"]', "initiator share 10.1.0.2"),
        ('"10.1.0.1"', '["10.1.0.2", "10.1.0.2"]', "the initiator has an address twice"),
    ],
)
def test_addresses_that_do_not_fit_are_refused(portals: str, initiator: str, says: str) -> None:
    """With the network that they are in."""
    text = complaint(network(portals, initiator) + OTHER)
    assert says in text
    assert "network a: " in text


def test_no_router_is_told_of_to_who_has_a_wrong_address_of_the_initiator() -> None:
    """A portal may be behind one."""
    assert "router" not in complaint(network('"10.1.0.1"', '"10.3.0.1"') + OTHER)


@pytest.mark.parametrize(("subnet", "one", "other"), [
    ("10.1.0.0/31", "10.1.0.0", "10.1.0.1"), ("fd00::/127", "fd00::", "fd00::1"),
    ("fd00::/64", "fd00::ffff:ffff:ffff:ffff", "fd00::1"),
])  # fmt: skip
def test_every_address_counts_where_there_is_no_broadcast(
    subnet: str, one: str, other: str
) -> None:
    """RFC 3021 and RFC 6164 have subnets of two addresses; IPv6 has no broadcast."""
    described = network(f'"{one}"', f'"{other}"', subnet=subnet) + OTHER
    assert len(loaded(described).config.networks) == 2


def test_the_first_address_of_a_subnet_of_ipv6_is_that_of_its_routers() -> None:
    """RFC 4291 section 2.6.1."""
    says = "network a: fd00:: is the anycast address of the routers of fd00::/64"
    assert says in complaint(network('"fd00::"', **V6) + OTHER)


def test_entries_without_a_name_of_their_own_are_counted_from_1() -> None:
    """As people count."""
    unnamed = OTHER.replace('name = "b"\n', "")
    assert complaint(network('"10.1.0.1"') + unnamed) == "own.toml: network 2, name: is missing"
    odd = OTHER.replace('"b"', '"Left hand"') + "mtu = 3\n"
    first, second = complaint(network('"10.1.0.1"') + odd).splitlines()
    assert first.startswith("own.toml: network 2, name: must match the pattern ^[a-z]")
    assert second.startswith("own.toml: network 2, mtu: must be 1280 or more")
    twice = network('"10.1.0.1"') + OTHER.replace('"b"', '"a"') + "mtu = 3\n"
    assert complaint(twice).startswith("own.toml: network 2, mtu: ")


def test_a_portal_behind_a_router_is_outside_the_subnet() -> None:
    """The router is in it, and the target of a testbed is the router itself."""
    topology = plan(loaded(routed("10.9.0.1", "10.1.0.1") + OTHER).config)
    (portal,) = topology.networks[0].portals
    assert (str(portal.portal.address), str(portal.next_hop)) == ("10.9.0.1", "10.1.0.1")
    (target,), (initiator,) = (topology.networks[0].nics(role) for role in Role)
    assert (target.addresses, target.routed) == (("10.1.0.1/24",), ("10.9.0.1/32",))
    assert (initiator.routes, target.routes) == (("10.9.0.1 via 10.1.0.1",), ())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (routed("10.1.0.2", "10.1.0.1"), "10.1.0.2 is in 10.1.0.0/24, so no router is between"),
        (routed("10.9.0.1", "10.8.0.1"), "10.8.0.1 is not in 10.1.0.0/24"),
        (routed("fd00::1", "10.1.0.1"), "fd00::1 and its router 10.1.0.1 are not of one version"),
        (
            routed("10.9.0.1", "10.1.0.1", '["10.1.0.101", "10.1.0.102"]'),
            "needs a network where the initiator has one address",
        ),
        (
            routed("10.2.0.9", "10.1.0.1"),
            "network a, portal 1, via: 10.2.0.9 is in the subnet of network b",
        ),
        (
            routed("10.9.0.1", "10.1.0.1")
            + network(
                VIA.format("10.9.0.1", "10.3.0.1"), '"10.3.0.2"', name="c", subnet="10.3.0.0/24"
            ),
            "network c, portal 1, via: 10.9.0.1 is reached over network a by 10.1.0.1, too",
        ),
        (network('"10.9.0.1"'), "a portal behind a router has `via`"),
    ],
)
def test_a_route_that_cannot_be_is_refused(text: str, says: str) -> None:
    """With the reason."""
    assert says in complaint(text + OTHER)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("mtu", 1000, "must be 1280 or more"),  # the least that IPv6 allows
        ("mtu", 70000, "must be 65521 or less"),
        ("vlan", 0, "must be 1 or more"),
        ("vlan", 4095, "must be 4094 or less"),
    ],
)
def test_an_mtu_or_a_vlan_that_cannot_be_is_refused(key: str, value: int, says: str) -> None:
    text = network('"10.1.0.1"') + f"{key} = {value}\n" + OTHER
    assert complaint(text) == f"own.toml: network a, {key}: {says} (got {value})"


def test_mtu_and_vlan_are_those_of_every_nic_of_a_network() -> None:
    """And of no other network's. What has the addresses is a device on the NIC."""
    text = network('"10.1.0.1"') + "mtu = 9000\nvlan = 7\n" + OTHER
    topology = plan(loaded(text).config)
    for role in Role:
        first, second = topology.nics(role)
        assert (first.mtu, first.vlan, second.mtu, second.vlan) == (9000, 7, None, None)
    first_network, second_network = topology.networks
    assert first_network.device("eth0") == "eth0.7"
    assert second_network.device("eth0") == "eth0"


def test_a_vlan_of_a_bridge_is_another_segment_than_the_bridge() -> None:
    """Two testbeds may have the same addresses in two VLANs."""
    bridged = network('"10.1.0.1"') + 'bridge = "br0"\n'
    segments = [
        plan(loaded(bridged + more + OTHER).config).networks[0].segment for more in ("", "vlan=7\n")
    ]
    assert segments == ["bridge br0", "bridge br0 VLAN 7"]


def test_one_path_is_too_few() -> None:
    """Whether another network, another portal or another NIC is added."""
    text = complaint(network('"10.1.0.1"'))
    assert "networks: multipath needs at least two paths, 1 given" in text
    for way in ("[[networks]]", "another portal", "another initiator address"):
        assert way in text
    for enough in (
        network('"10.1.0.1"') + OTHER,
        network('"10.1.0.1", "10.1.0.2"'),
        network('"10.1.0.1"', '["10.1.0.101", "10.1.0.102"]'),
    ):
        assert len(plan(loaded(enough).config).paths) == 2
    assert "0 given" in complaint("networks = []")


@pytest.mark.parametrize(
    ("subnet", "portal", "initiator"),
    [
        ("10.1.0.0/25", "10.1.0.1", "10.1.0.3"),
        ("10.0.0.0/8", "10.2.0.1", "10.2.0.3"),
    ],
)
def test_subnets_that_overlap_are_refused(subnet: str, portal: str, initiator: str) -> None:
    """The kernel would choose between the networks by its routes."""
    other = network(f'"{portal}"', f'"{initiator}"', name="b", subnet=subnet)
    text = complaint(network('"10.1.0.1"') + other)
    assert text == (
        f"own.toml: networks: a (10.1.0.0/24) and b ({subnet}) overlap; one subnet per network, "
        "or the kernel would mix the paths"
    )


def test_subnets_of_ipv6_overlap_among_themselves_alone() -> None:
    """A subnet of the other family is never the same."""
    one, other = (network(f'"fd00::{n}"', f'"fd00::10{n}"', name=name, subnet="fd00::/64")
                  for n, name in ((1, "a"), (2, "b")))  # fmt: skip
    assert "a (fd00::/64) and b (fd00::/64) overlap" in complaint(one + other)
    assert len(loaded(one + OTHER).config.networks) == 2
    everything = network('"fd00::1"', '"fd00::101"', subnet="::/0")
    assert len(loaded(everything + OTHER).config.networks) == 2


def test_who_still_has_fabrics_is_told_what_they_are_called_now() -> None:
    """Every key that changed."""
    text = complaint(
        '[[fabrics]]\nname = "a"\nsubnet = "10.1.0.0/24"\ntarget = "10.1.0.1"\n'
        'initiator = "10.1.0.2"\n'
    )
    assert text.startswith("own.toml: [[fabrics]] is now [[networks]]: ")
    for word in ("`portals`", "`libvirt_network`", "`access_state`", "[[controllers]]"):
        assert word in text


def test_what_a_network_is_on_is_known() -> None:
    """One of both, or cables."""

    def made(**more: str) -> NetworkConfig:
        (one, _) = default_networks()
        return one.model_copy(update=more)

    assert made().segment is None
    assert made(bridge="br0").segment == "bridge br0"
    assert made(libvirt_network="san").segment == "network san"


@pytest.mark.parametrize("twice", ['"10.1.0.1", "10.1.0.1"', '"10.1.0.1", "10.1.0.1:3260"'])
def test_a_portal_that_is_named_twice_is_refused(twice: str) -> None:
    """It would be two paths by name, and one session."""
    text = complaint(network(twice) + OTHER)
    assert "network a, portal 2: 10.1.0.1 port 3260 is portal 1 of the list already" in text


def test_one_address_may_have_several_ports() -> None:
    """Each is a portal."""
    config = loaded(network('"10.1.0.1", "10.1.0.1:3261"')).config
    assert len(plan(config).portals) == 2


@pytest.mark.parametrize(
    ("portals", "initiator", "second", "says"),
    [
        ('"10.1.0.1", "10.1.0.2"', '"10.1.0.101"', "a1", "a portal named a1"),
        ('"10.1.0.1"', '["10.1.0.101", "10.1.0.102"]', "a-nic1", "a link named a-nic1"),
    ],
)
def test_names_that_would_be_given_twice_are_refused(
    portals: str, initiator: str, second: str, says: str
) -> None:
    """A fault would hit one of both and claim the paths of the other, too."""
    other = network('"10.2.0.1"', '"10.2.0.101"', name=second, subnet="10.2.0.0/24")
    text = complaint(network(portals, initiator) + other)
    assert text == (
        f"own.toml: networks: a and {second} would both have {says}; give one of them another name"
    )


def test_an_initiator_with_more_nics_than_a_guest_has_room_for_is_refused() -> None:
    """Twelve it has; on a host that is there they are not counted."""

    def described(nics: int) -> str:
        return "".join(
            network(f'"10.1.{n}.1"', f'"10.1.{n}.101"', name=f"n{n}", subnet=f"10.1.{n}.0/24")
            for n in range(nics)
        )

    assert len(plan(loaded(described(12)).config).nics(Role.INITIATOR)) == len(NIC_SLOTS)
    assert "networks: the initiator has 13 addresses" in complaint(described(13))
    array = '[target]\nkind = "external"\nwwid = "360014057043dfe0435de773ca03bbf04"\n'
    assert loaded(array + '[initiator]\nmachine = "local"\n' + described(13))
