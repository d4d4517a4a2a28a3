"""iscsiadm: its command lines and what a discovery answers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from harness.config.negotiation import LoginOptions
from harness.config.profiles import FAST, STOCK, Profile
from harness.topology import Portal
from harness.transport.iscsi import iscsiadm
from harness.transport.iscsi.iscsiadm import DiscoveredNode, node_settings, parse_discovery

IQN = "iqn.2026-01.io.pathproof:storage"
PORTAL = Portal(IPv4Address("172.16.0.1"))

NODES = st.builds(
    DiscoveredNode,
    st.builds(Portal, st.ip_addresses(), st.integers(1, 65535)),
    st.integers(-1, 65535),
    st.from_regex(r"iqn\.[!-~]{1,40}", fullmatch=True),
)


def test_a_real_answer_is_understood() -> None:
    """From open-iscsi 2.1.8, one line per portal."""
    text = f"172.16.0.1:3260,1 {IQN}\n172.16.1.1:3260,1 {IQN}\n"
    assert parse_discovery(text) == [
        DiscoveredNode(Portal(IPv4Address(f"172.16.{n}.1")), 1, IQN) for n in (0, 1)
    ]


def test_portals_of_both_families_are_understood() -> None:
    """An IPv6 address is in brackets, with whatever port."""
    text = f"172.16.0.1:3260,1 {IQN}\n[fd00:172:16::1]:3261,2 {IQN}\n"
    other = Portal(IPv6Address("fd00:172:16::1"), 3261)
    assert parse_discovery(text) == [
        DiscoveredNode(PORTAL, 1, IQN),
        DiscoveredNode(other, 2, IQN),
    ]
    assert iscsiadm.login_argv(IQN, other)[-2:] == ["[fd00:172:16::1]:3261", "--login"]


def test_lines_of_another_form_are_passed_over() -> None:
    """Complaints and portals by host name stand beside the answers."""
    text = f"iscsiadm: a warning\nstorage.lab:3260,1 {IQN}\n172.16.0.1:3260,1 {IQN}\n\n"
    assert [n.portal for n in parse_discovery(text)] == [PORTAL]
    assert parse_discovery("iscsiadm: No portals found\n") == []


@given(st.lists(NODES))
def test_every_node_is_found_in_its_order(nodes: list[DiscoveredNode]) -> None:
    """Whatever target, port and portal group; -1 stands for an unknown group."""
    text = "".join(f"{n.portal},{n.portal_group} {n.iqn}\n" for n in nodes)
    assert parse_discovery(text) == nodes


def test_settings_travel_as_pairs_of_name_and_value() -> None:
    """One command for all of them, for every portal of the target."""
    assert iscsiadm.update_argv(IQN, node_settings(FAST, LoginOptions())) == [
        *("iscsiadm", "--mode", "node", "--targetname", IQN, "--op", "update"),
        *("--name", "node.conn[0].timeo.noop_out_interval", "--value", "1"),
        *("--name", "node.conn[0].timeo.noop_out_timeout", "--value", "1"),
        *("--name", "node.conn[0].timeo.login_timeout", "--value", "3"),
    ]


def test_a_profile_sets_only_what_it_names() -> None:
    """The distribution's values are left alone; recovery is multipathd's business."""
    assert node_settings(STOCK, LoginOptions()) == {}
    only = node_settings(Profile(noop_out_timeout_s=7, fast_io_fail_s=5), LoginOptions())
    assert only == {"node.conn[0].timeo.noop_out_timeout": "7"}


def test_login_names_one_portal_and_logout_names_none() -> None:
    """A session per portal comes up by itself; all of them end together."""
    assert iscsiadm.login_argv(IQN, PORTAL)[-3:] == ["--portal", "172.16.0.1:3260", "--login"]
    assert "--portal" not in iscsiadm.logout_argv(IQN)
    assert iscsiadm.discovery_argv(PORTAL)[-2:] == ["--portal", "172.16.0.1:3260"]
    assert iscsiadm.forget_argv(IQN)[-2:] == ["--op", "delete"]


def test_the_interface_of_a_link_is_named_wherever_there_may_be_several() -> None:
    """The default one is not: open-iscsi uses it by itself."""
    by = ["--interface", "pathproof-a-nic1"]
    for make in (iscsiadm.login_argv, iscsiadm.new_record_argv):
        assert "--interface" not in make(IQN, PORTAL)
        argv = make(IQN, PORTAL, by[1])
        assert argv[argv.index("--interface") :][:2] == by
        assert argv[argv.index("--portal") :][:2] == ["--portal", "172.16.0.1:3260"]
    other = ["--interface", "pathproof-a-nic2"]
    assert "--interface" not in iscsiadm.discovery_argv(PORTAL)
    assert iscsiadm.discovery_argv(PORTAL, [by[1], other[1]])[-4:] == [*by, *other]
    new, bound = iscsiadm.bind_argvs(by[1], "ens9")
    assert new == ["iscsiadm", "--mode", "iface", *by, "--op", "new"]
    assert bound[-4:] == ["--name", "iface.net_ifacename", "--value", "ens9"]
