"""Who answers ARP, and which networks are one, in namespaces of this host: a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest

from harness.preflight.answers import (
    Answers,
    answer_problems,
    arp_argv,
    joined_networks,
    parse_answers,
)
from suites.selftest import needs
from suites.selftest.unit.test_preflight_answers import NAMES, TWO
from suites.selftest.wiring.namespace import Namespace, namespace

PORTALS = {"a": "172.16.0.1/24", "b": "172.16.1.1/24"}


class Switch:
    """A switch for each of two networks, with the initiator and the target at both."""

    def __init__(self, stack: ExitStack) -> None:
        self._ports = count()
        self.machine = stack.enter_context(namespace("switch"))
        self.machine.sh(
            "for s in sw-a sw-b; do ip link add $s type bridge; ip link set $s up; done"
        )
        self.initiator = stack.enter_context(namespace("initiator"))
        self.target = stack.enter_context(namespace("target"))
        for link in TWO.links:
            self.plug(self.initiator, NAMES[link.name], link.network, f"{link.address}/24")
            self.plug(self.target, NAMES[link.name], link.network, PORTALS[link.network])

    def plug(self, host: Namespace, nic: str, network: str, address: str) -> None:
        port = f"p{next(self._ports)}"
        cable = f"ip link add {port} type veth peer name {nic} netns {host.pid}"
        self.machine.sh(f"{cable}; ip link set {port} master sw-{network} up")
        host.sh(f"ip address add {address} dev {nic}; ip link set {nic} up")

    def answers(self) -> Answers:
        return parse_answers(self.initiator.run(arp_argv(TWO, NAMES)).stdout)


@contextmanager
def switched() -> Iterator[Switch]:
    if why := needs.no_namespaces():
        pytest.skip(why)
    with ExitStack() as stack:
        yield Switch(stack)


def test_a_target_that_has_its_addresses_alone_is_no_problem() -> None:
    """A NIC that answers for the other one's address, as Linux ships, is on another network."""
    with switched() as switch:
        found = switch.answers()
        assert {place: len(macs) for place, macs in found.macs.items()} == {
            ("eth0", "172.16.0.1"): 1,
            ("eth1", "172.16.1.1"): 1,
        }
        assert list(joined_networks(TWO, NAMES, found)) == []


def test_another_machine_with_the_address_of_a_portal_is_found() -> None:
    with switched() as switch, namespace("other") as other:
        switch.plug(other, "eth0", "a", PORTALS["a"])
        (problem,) = answer_problems(TWO, NAMES, switch.answers())
        assert problem.cause.startswith("2 NICs answer ARP for 172.16.0.1 on eth0 (link a)")


def test_a_portal_whose_address_no_machine_has_any_more_is_found() -> None:
    """Of a NIC that is down, or missing, ARP tells nothing. The other ones are asked."""
    with switched() as switch:
        switch.target.sh("ip address flush dev eth1")
        (problem,) = answer_problems(TWO, NAMES, switch.answers())
        assert problem.cause.startswith("no machine answers for 172.16.1.1 on eth1 (link b)")
        for breaking in ("ip link set eth1 down", "ip link delete eth1"):
            switch.initiator.sh(breaking)
            found = switch.answers()
            assert found.asked == {("eth0", "172.16.0.1")}
            assert list(answer_problems(TWO, NAMES, found)) == []


def test_two_networks_with_a_cable_between_their_switches_are_found() -> None:
    with switched() as switch:
        switch.machine.sh(
            "ip link add ab type veth peer name ba; ip link set ab master sw-a up; "
            "ip link set ba master sw-b up"
        )
        (text,) = joined_networks(TWO, NAMES, switch.answers())
        assert text.startswith("networks a and b are one layer-2 network")


def test_a_nic_that_is_down_or_gone_answers_nothing() -> None:
    """That it is, other parts of the preflight tell."""
    with switched() as switch:
        switch.initiator.sh("ip link set eth0 down")
        assert set(switch.answers().macs) == {("eth1", "172.16.1.1")}
        switch.initiator.sh("ip link delete eth0")
        assert set(switch.answers().macs) == {("eth1", "172.16.1.1")}
