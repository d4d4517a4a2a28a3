"""NICs, addresses and queues that are broken and mended, in namespaces of this host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

import pytest

from harness.deadline import Deadline, poll
from harness.faults import (
    AddressRemoved,
    Fault,
    Lab,
    Narrow,
    NicDown,
    PeerNicDown,
    PortalAddressRemoved,
    heal_everything,
)
from harness.faults import addresses as module
from harness.machine import Machine
from harness.machine.nic_script import render_script
from harness.topology import Nic, Role, Topology
from suites.selftest.wiring.wired import ANY_NIC, Wires, wired

KINDS = (NicDown, PeerNicDown, AddressRemoved, PortalAddressRemoved, Narrow)
FLOOD = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    for _ in range(400):
        one.sendto(bytes(1400), (sys.argv[1], 9))
"""
TOPOLOGIES = ("two", "four", "one-subnet", "ipv6", "jumbo", "routed", "vlan")


@dataclass
class NoCables:
    """As much of a lab as these faults act on; there is nobody to watch carriers."""

    wires: Wires

    @property
    def topology(self) -> Topology:
        return self.wires.topology

    def machine(self, name: str) -> Machine:
        return self.wires.machine(Role(name))

    def nic(self, machine: str, link: str) -> str:
        return self.wires.nic(Role(machine), link)


@pytest.fixture(autouse=True)
def _any_nic(monkeypatch: pytest.MonkeyPatch) -> None:
    def render(nics: tuple[Nic, ...], *, addressed: bool) -> str:
        return render_script(nics, addressed=addressed).replace(*ANY_NIC)

    monkeypatch.setattr(module, "render_script", render)


def state(wires: Wires) -> set[str]:
    """Addresses, routes and flags of both machines.

    But not which of the addresses of a subnet comes first: what was taken away is the last then.
    """
    asked = "ip -o address; ip route; ip -6 route; ip -o link; tc qdisc show"
    lines = (
        f"{role}: {line}"
        for role, machine in wires.machines.items()
        for line in machine.sh(asked).stdout.splitlines()
    )
    # A NIC that is back may still be learning, and the kernel chooses an address of its own again.
    return {
        re.sub(r"secondary |NO-CARRIER,|state \w+|tentative |linkdown *| src \S+", "", line)
        for line in lines
        if "fe80:" not in line and "ff00::" not in line
    }


def _require(wires: Wires, before: set[str], what: str) -> None:
    """The kernel notes a carrier that comes back a moment later."""
    poll(
        lambda: state(wires) == before,
        what=f"all as it was before {what}",
        deadline=Deadline.after(5),
        last_seen=lambda: str(sorted(state(wires) ^ before)),
    )


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
                _require(wires, before, fault.name)


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
        _require(wires, before, "everything")


@pytest.mark.parametrize("topology", ["two", "four", "ipv6"])
def test_only_the_address_that_was_to_go_is_gone(topology: str) -> None:
    """Others of its subnet would go with it; the fault sees that it is gone, and back."""
    with wired(topology) as wires:
        lab = cast(Lab, NoCables(wires))
        for fault in PortalAddressRemoved.everywhere(wires.topology, lambda _: True):
            assert fault.look(lab)[fault.name].missing.startswith("the target has ")
            fault.inject(lab)
            fault.confirm(lab)
            assert fault.look(lab)[fault.name].missing == ""
            told = wires.machine(Role.TARGET).sh("ip -o address").stdout
            left = [one.name for one in wires.topology.portals if f" {one.portal.address}/" in told]
            assert left == [one.name for one in wires.topology.portals if one.name != fault.portal]
            fault.heal(lab)
            fault.confirm_healed(lab)


def test_a_queue_counts_what_it_holds_back() -> None:
    """It is confirmed by that, and seen while it is there."""
    with wired("two") as wires:
        lab = cast(Lab, NoCables(wires))
        fault = Narrow("a")
        fault.inject(lab)
        assert fault.look(lab)["Narrow(a)"].missing == ""
        portal = wires.topology.portal("a").portal.address
        with wires.machine(Role.INITIATOR).background(["python3", "-c", FLOOD, str(portal)]):
            fault.confirm(lab)
        seen = fault.look(lab)
        assert (seen["Narrow(a)"].count or 0) > 0
        assert seen["Narrow(a) by TCP"].count is None  # there is no session
        fault.heal(lab)
        fault.confirm_healed(lab)
        assert "is gone" in fault.look(lab)["Narrow(a)"].missing
