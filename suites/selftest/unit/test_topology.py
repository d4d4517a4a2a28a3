"""From the configuration to every address of a testbed."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.config.model import TargetConfig
from harness.topology import Role, Topology, management_mac, plan

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,23}", fullmatch=True)


def data_macs(topology: Topology) -> list[str]:
    return [fabric.mac(role) for fabric in topology.fabrics for role in Role]


def test_the_configuration_alone_decides() -> None:
    """Another process, years later, plans the same."""
    assert plan(Config()) == plan(Config())
    assert plan(Config()).lun.serial == "7043dfe0435de773ca03bbf04" + plan(Config()).lun.serial[25:]


def test_each_role_has_its_end_of_each_fabric() -> None:
    """Portal and initiator, with their own addresses."""
    fabric = plan(Config()).fabric("b")
    assert str(fabric.portal) == "172.16.1.1:3260"
    assert fabric.address(Role.TARGET) == IPv4Address("172.16.1.1")
    assert fabric.address(Role.INITIATOR) == IPv4Address("172.16.1.101")
    assert fabric.mac(Role.TARGET) == fabric.target_mac != fabric.mac(Role.INITIATOR)


def test_portals_are_where_the_target_listens() -> None:
    """A port other than the registered one is passed on."""
    topology = plan(Config(target=TargetConfig(port=3261)))
    assert [str(f.portal) for f in topology.fabrics] == ["172.16.0.1:3261", "172.16.1.1:3261"]


def test_an_unknown_fabric_is_refused_with_those_that_there_are() -> None:
    """A misspelt parameter is seen at once."""
    with pytest.raises(KeyError, match=r"no fabric 'c'; there are \['a', 'b'\]"):
        plan(Config()).fabric("c")


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
    assert (first.lun.serial == second.lun.serial) == (one == two)
    assert (data_macs(first) == data_macs(second)) == (one == two)


def test_the_target_name_is_part_of_a_luns_identity() -> None:
    """Two targets of one testbed do not serve the same disk."""
    other = Config(target=TargetConfig(iqn="iqn.2026-01.io.pathproof:other"))
    assert plan(other).lun.serial != plan(Config()).lun.serial


def on_bridge(host: int, **more: Any) -> Config:
    """With one cable, and one bridge where the target's address ends in `host`."""
    cable, other = Config().fabrics
    target = other.subnet.network_address + host
    bridged = other.model_copy(update={"bridge": "br-san", "target": target})
    return Config(fabrics=(cable, bridged), **more)


def test_runs_on_one_network_differ_in_their_macs() -> None:
    """Else one that asks on the wire who has its addresses would look like who has them.

    Not so on a cable: forks have the MAC addresses of the snapshot.
    """
    one, two = plan(on_bridge(1), "run 1"), plan(on_bridge(1), "run 2")
    for role in Role:
        assert one.fabric("a").mac(role) == two.fabric("a").mac(role)
        assert one.fabric("b").mac(role) != two.fabric("b").mac(role)
    assert one.lun == two.lun
    assert [fabric.name for fabric in one.shared] == ["b"]


def test_luns_on_one_network_differ_by_the_addresses_of_their_targets() -> None:
    """Two testbeds of one name can be there at once if their addresses differ."""
    assert plan(on_bridge(1)).lun.serial != plan(on_bridge(2)).lun.serial
