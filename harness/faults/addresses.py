"""Addresses that are taken away from a machine. Source: ip-address(8)."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from harness.budget import Effect
from harness.deadline import Deadline, poll
from harness.faults.base import CONFIRM_TIMEOUT_S, SAMPLE_TIMEOUT_S, Lab, Means
from harness.faults.kind import Family, Kind, Possible
from harness.faults.sampling import SampledByShell
from harness.faults.undoing import UndoneByShell
from harness.machine.nic_script import render_script
from harness.measurements import MeansSample
from harness.topology import Nic, Role, Topology, called

_TIMEOUT_S = 30.0


def configuring(topology: Topology, machine: str) -> Mapping[str, str]:
    """Shell that gives a machine's data NICs all that was planned, whatever they lack."""
    return {machine: render_script(topology.nics(machine), addressed=True)}


def wait_for_addresses(lab: Lab, machine: str, nic: Nic, addresses: Collection[str]) -> None:
    """Wait until a NIC of a machine has these addresses. Raises TimedOut."""
    poll(
        lambda: set(addresses) <= _addresses_of(lab, machine, nic),
        what=f"{', '.join(addresses)} on {called(machine)}",
        deadline=Deadline.after(CONFIRM_TIMEOUT_S),
        every_s=0.3,
    )


@dataclass(frozen=True)
class _AddressRemoved(UndoneByShell, SampledByShell):
    """A machine no longer has an address: it answers nobody there, and sends nothing from there.

    TCP keeps the connections of an address that is gone. None of their packets finds a route any
    more (ip_route_output_key_hash_rcu() in net/ipv4/route.c), and those that arrive are for nobody.
    """

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.UNREACHABLE})

    @abstractmethod
    def end(self, topology: Topology) -> tuple[str, Nic, str]:
        """The machine, its NIC, and the address with its prefix length."""

    def machine(self, topology: Topology) -> str:  # its end says it
        return self.end(topology)[0]

    def inject(self, lab: Lab) -> None:
        """Without `promote_secondaries` the kernel removes others of its subnet with an address.

        Source: Documentation/networking/ip-sysctl.rst.
        """
        machine, nic, address = self.end(lab.topology)
        device = _device(lab, machine, nic)
        script = (
            f"promote=/proc/sys/net/ipv4/conf/{device}/promote_secondaries\n"
            f"was=$(cat $promote)\n"
            f"trap 'echo $was >$promote' EXIT\n"
            f"echo 1 >$promote\n"
            f"ip address delete {address} dev {device}"
        )
        lab.machine(machine).sh(script, timeout_s=_TIMEOUT_S)

    def confirm(self, lab: Lab) -> None:
        machine, nic, address = self.end(lab.topology)
        poll(
            lambda: address not in _addresses_of(lab, machine, nic),
            what=f"{called(machine)} without {address}",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
            every_s=0.3,
        )

    def sampling(self, lab: Lab) -> str:
        machine, nic, _ = self.end(lab.topology)
        return shlex.join(_listing(lab, machine, nic))

    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        machine, _, address = self.end(lab.topology)
        there = address in _parse_addresses(told)
        missing = f"{called(machine)} has {address}" if there else ""
        return [MeansSample(self.name, missing=missing)]

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        machine, *_ = self.end(lab.topology)
        return configuring(lab.topology, machine)

    def confirm_healed(self, lab: Lab) -> None:
        machine, nic, _ = self.end(lab.topology)
        wait_for_addresses(lab, machine, nic, nic.addresses)


@dataclass(frozen=True)
class AddressRemoved(_AddressRemoved):
    """The initiator's NIC of one link loses its address."""

    link: str

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each link."""
        return tuple(cls(link.name) for link in topology.links)

    @property
    def where(self) -> str:
        return self.link

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({Means.INITIATOR_NIC})

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_link(self.link)

    def end(self, topology: Topology) -> tuple[str, Nic, str]:
        machine = topology.link(self.link).machine
        nic = topology.nic_at(machine, self.link)
        return machine, nic, nic.addresses[0]

    @property
    def description(self) -> str:
        return f"the initiator's NIC of link {self.link} has no address"


@dataclass(frozen=True)
class PortalAddressRemoved(_AddressRemoved):
    """The target no longer has the address of one portal.

    Of portals that share an address all are lost; of one behind a router the target's NIC keeps the
    router's address.
    """

    portal: str

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each portal whose address no other has, and no router leads to."""
        addresses = [portal.portal.address for portal in topology.portals]
        return tuple(
            cls(portal.name)
            for portal in topology.portals
            if portal.via is None and addresses.count(portal.portal.address) == 1
        )

    @property
    def where(self) -> str:
        return self.portal

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({Means.TARGET_GUEST})

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_portal(self.portal)

    def end(self, topology: Topology) -> tuple[str, Nic, str]:
        portal = topology.portal(self.portal)
        network = topology.network(portal.network)
        address = f"{portal.portal.address}/{network.subnet.prefixlen}"
        return Role.TARGET.value, network.nics(Role.TARGET)[0], address

    @property
    def description(self) -> str:
        return f"the target no longer has the address of its portal {self.portal}"


def _device(lab: Lab, machine: str, nic: Nic) -> str:
    """The device that has the NIC's addresses."""
    return nic.bridge or nic.device(lab.nic(machine, nic.links[0]))


def _addresses_of(lab: Lab, machine: str, nic: Nic) -> set[str]:
    """The addresses that the device of a NIC has."""
    argv = _listing(lab, machine, nic)
    return _parse_addresses(lab.machine(machine).run(argv, timeout_s=SAMPLE_TIMEOUT_S).stdout)


def _listing(lab: Lab, machine: str, nic: Nic) -> list[str]:
    return ["ip", "-oneline", "address", "show", "dev", _device(lab, machine, nic)]


def _parse_addresses(told: str) -> set[str]:
    r"""The addresses in what `ip -oneline address` prints.

    Real line: `3: ens16    inet 172.16.0.101/24 scope global ens16\       valid_lft forever …`
    """
    return {line.split()[3] for line in told.splitlines() if line.strip()}


ADDRESS_KINDS = (
    Kind(
        AddressRemoved,
        "link",
        Family.LINK,
        "the initiator's NIC of one link has no address",
        "nothing is sent from there, and what arrives is for nobody; TCP keeps the connection",
        AddressRemoved.everywhere,
    ),
    Kind(
        PortalAddressRemoved,
        "portal",
        Family.LINK,
        "the target no longer has the address of one portal",
        "both carriers stay up; soon nobody answers for the address",
        PortalAddressRemoved.everywhere,
    ),
)
