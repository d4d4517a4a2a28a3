"""NICs, addresses and queues that are broken and mended, in namespaces of this host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from harness.errors import CommandFailed
from harness.faults import (
    AddressRemoved,
    Fault,
    Lab,
    NicDown,
    PeerNicDown,
    PortalAddressRemoved,
    RateLimit,
    heal_everything,
)
from harness.faults import addresses as module
from harness.machine import Machine
from harness.machine.nic_script import render_script
from harness.topology import Nic, Role, Topology
from suites.selftest.means import means_of
from suites.selftest.network_state import network_state, require_state
from suites.selftest.wiring.wired import ANY_NIC, Wires, wired

KINDS = (NicDown, PeerNicDown, AddressRemoved, PortalAddressRemoved, RateLimit)
FLOOD = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    for _ in range(400):
        one.sendto(bytes(1400), (sys.argv[1], 9))
"""
TOPOLOGIES = ("two", "four", "one-subnet", "ipv6", "jumbo", "routed", "vlan", "two-initiators")


@dataclass
class NoCables:
    """As much of a lab as these faults act on; there is nobody to watch carriers."""

    wires: Wires

    @property
    def topology(self) -> Topology:
        return self.wires.topology

    def machine(self, name: str) -> Machine:
        return self.wires.machine(name)

    def nic(self, machine: str, link: str) -> str:
        return self.wires.nic(machine, link)


@pytest.fixture(autouse=True)
def _any_nic(monkeypatch: pytest.MonkeyPatch) -> None:
    def render(nics: tuple[Nic, ...], *, addressed: bool) -> str:
        return render_script(nics, addressed=addressed).replace(*ANY_NIC)

    monkeypatch.setattr(module, "render_script", render)


def state(wires: Wires) -> frozenset[str]:
    return network_state(wires.machines.values())


def everything(wires: Wires) -> list[Fault]:
    return [one for kind in KINDS for one in kind.everywhere(wires.topology, lambda _: True)]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_what_was_broken_is_as_it_was_before(topology: str) -> None:
    """Addresses, routes and NICs, after each of them; healing what is healed changes nothing."""
    with wired(topology) as wires:
        lab = cast(Lab, NoCables(wires))
        before = state(wires)
        for fault in everything(wires):
            fault.inject(lab)
            assert state(wires) != before, fault.name
            for _ in range(2):
                fault.heal(lab)
                require_state(wires.machines.values(), before, fault.name)


@pytest.mark.parametrize("topology", ["two", "four"])
def test_all_at_once_is_healed_at_once(topology: str) -> None:
    """As before each test, whatever was left."""
    with wired(topology) as wires:
        lab = cast(Lab, NoCables(wires))
        before = state(wires)
        for fault in everything(wires):
            if not isinstance(fault, NicDown | PeerNicDown):
                fault.inject(lab)
        for fault in everything(wires):
            if isinstance(fault, NicDown | PeerNicDown):
                fault.inject(lab)
        heal_everything(lab, lambda fault: isinstance(fault, KINDS))
        require_state(wires.machines.values(), before, "everything")


@pytest.mark.parametrize("topology", ["two", "four", "ipv6"])
def test_only_the_address_that_was_to_go_is_gone(topology: str) -> None:
    """Others of its subnet would go with it; the fault sees that it is gone, and back."""
    with wired(topology) as wires:
        lab = cast(Lab, NoCables(wires))
        for fault in PortalAddressRemoved.everywhere(wires.topology, lambda _: True):
            assert means_of(fault, lab)[fault.name].missing.startswith("the target has ")
            fault.inject(lab)
            fault.confirm(lab)
            assert means_of(fault, lab)[fault.name].missing == ""
            told = wires.machine(Role.TARGET).sh("ip -o address").stdout
            left = [one.name for one in wires.topology.portals if f" {one.portal.address}/" in told]
            assert left == [one.name for one in wires.topology.portals if one.name != fault.portal]
            fault.heal(lab)
            fault.confirm_healed(lab)


def test_an_address_that_is_not_there_cannot_be_removed() -> None:
    """What was set for that is undone all the same."""
    with wired("two") as wires:
        lab = cast(Lab, NoCables(wires))
        fault = AddressRemoved("a")
        fault.inject(lab)
        without = state(wires)
        with pytest.raises(CommandFailed):
            fault.inject(lab)
        assert state(wires) == without


def test_a_queue_counts_what_it_holds_back() -> None:
    """It is confirmed by that, and seen while it is there."""
    with wired("two") as wires:
        lab = cast(Lab, NoCables(wires))
        fault = RateLimit("a")
        fault.inject(lab)
        assert means_of(fault, lab)["RateLimit(a)"].missing == ""
        portal = wires.topology.portal("a").portal.address
        with wires.machine(Role.INITIATOR).background(["python3", "-c", FLOOD, str(portal)]):
            fault.confirm(lab)
        seen = means_of(fault, lab)
        assert (seen["RateLimit(a)"].count or 0) > 0
        assert seen["RateLimit(a) on its paths"].count is None  # there is no session
        fault.heal(lab)
        fault.confirm_healed(lab)
        assert "is gone" in means_of(fault, lab)["RateLimit(a)"].missing
