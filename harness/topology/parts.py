"""What a testbed is made of: portals, controllers, links, NICs and networks, as frozen data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from harness.config.networks import AccessState

# The interface of open-iscsi that is bound to no NIC; source: iscsiadm(8).
PLAIN_IFACE = "default"
Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network


class Role(StrEnum):
    """What a machine is for."""

    TARGET = "target"
    INITIATOR = "initiator"


@dataclass(frozen=True)
class PlannedMachine:
    """A machine by its name, what it is for, and an initiator's IQN.

    The names of the target and of the first initiator are those of their roles.
    """

    name: str
    role: Role
    iqn: str = ""

    def __str__(self) -> str:
        return called(self.name)


def called(machine: str) -> str:
    """A machine in a sentence: "the target", "the initiator", or "initiator second"."""
    return f"the {machine}" if machine in list(Role) else f"initiator {machine}"


@dataclass(frozen=True)
class Portal:
    """Where a target listens (RFC 7143 section 2.2), as iscsiadm(8) writes it."""

    address: Address
    port: int = 3260

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Controller:
    """A group of portals that fail together, and what ALUA tells of them."""

    name: str
    access_state: AccessState = "optimized"


@dataclass(frozen=True)
class TargetPortal:
    """A portal of the planned target: its name in reports, its network and its controller.

    `iqn` is the target's name at this portal alone, None where each target has its one name.
    `controller` is "" if there are none. `via` is the router's address on the network, if the
    portal is outside its subnet.
    """

    name: str
    network: str
    portal: Portal
    iqn: str | None = None
    controller: str = ""
    via: Address | None = None

    def __str__(self) -> str:
        return f"{self.portal} ({self.name})"

    @property
    def next_hop(self) -> Address:
        """Whose MAC address the frames to it have: its own, or the router's."""
        return self.via or self.portal.address


@dataclass(frozen=True)
class Link:
    """A NIC of an initiator on a network, with the address that it has there.

    `machine` is the initiator's name, and `nic` tells it from others of that machine on the network
    ("nic1"). Where the lab has its own cables it is one of them, whose other end is a NIC of the
    target.
    `iface` is the interface of open-iscsi that binds its sessions to the NIC (iscsiadm(8)). By
    "default" the kernel's routes decide. It is "" where no link has an interface of its own: then
    open-iscsi need not be told.
    """

    name: str
    network: str
    address: Address
    initiator_mac: str
    target_mac: str
    iface: str = ""
    machine: str = Role.INITIATOR.value
    nic: str = ""

    @property
    def bound(self) -> bool:
        """Whether sessions are bound to this NIC, whatever the routes say."""
        return self.iface not in {"", PLAIN_IFACE}


@dataclass(frozen=True)
class Nic:
    """A data NIC of one machine, and the addresses that it gets, as "172.16.0.1/24".

    `links` are those that end at it. With a `bridge` the NIC is a port of that bridge inside the
    machine, which then has the addresses: a switch with several cables. `routed` are addresses of
    the machine itself, "172.17.0.1/32", which others reach by a route through this NIC, and
    `routes` the machine's own, as "172.17.0.1 via 172.16.0.1". `mtu` None leaves what it has;
    frames have the tag `vlan`, if there is one. `shared`: others may have its addresses.
    """

    name: str
    mac: str
    links: tuple[str, ...]
    addresses: tuple[str, ...]
    bridge: str = ""
    routed: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    mtu: int | None = None
    vlan: int | None = None
    shared: bool = False

    def device(self, name: str) -> str:
        """The device for its frames: itself, which the machine calls `name`, or that of the VLAN.

        On a `bridge` it is that device which is the port.
        """
        return device_on(name, self.vlan)


@dataclass(frozen=True)
class Network:
    """One layer-2 network with its subnet.

    With neither `libvirt_network` nor `bridge` each of its links is a cable of the hypervisor's.
    `others` are links of initiators that a topology is not about.
    """

    name: str
    subnet: Subnet
    links: tuple[Link, ...]
    portals: tuple[TargetPortal, ...]
    libvirt_network: str | None = None
    bridge: str | None = None
    mtu: int | None = None
    vlan: int | None = None
    others: tuple[Link, ...] = ()

    @property
    def every_link(self) -> tuple[Link, ...]:
        """The links of all initiators."""
        return (*self.links, *self.others)

    @property
    def shared(self) -> bool:
        """Whether there may be other machines; else it has the lab's own cables."""
        return bool(self.libvirt_network or self.bridge)

    @property
    def segment(self) -> str:
        """The layer-2 segment that other testbeds may be on, too; empty for cables."""
        tagged = f" VLAN {self.vlan}" if self.vlan else ""
        if self.bridge:
            return f"bridge {self.bridge}{tagged}"
        return f"network {self.libvirt_network}{tagged}" if self.libvirt_network else ""

    def device(self, nic: str) -> str:
        """The device that has the addresses of a NIC here: itself, or that of the VLAN on it."""
        return device_on(nic, self.vlan)

    def of(self, machine: str) -> Network:
        """The network as it is to one initiator."""
        own = tuple(link for link in self.every_link if link.machine == machine)
        others = tuple(link for link in self.every_link if link.machine != machine)
        return replace(self, links=own, others=others)

    def addresses(self, machine: str) -> tuple[Address, ...]:
        """Every address that a machine has in the subnet, each once."""
        if machine != Role.TARGET:
            return tuple(link.address for link in self.every_link if link.machine == machine)
        return tuple(dict.fromkeys(one.next_hop for one in self.portals))

    def nics(self, machine: str) -> tuple[Nic, ...]:
        """The NICs of a machine on this network.

        An initiator has one for each of its links, and a target with cables one for each link of
        all; on a network that others use, too, the target has one.
        """
        prefix = self.subnet.prefixlen
        behind = [one for one in self.portals if one.via is not None]

        def nic(name: str, mac: str, links: tuple[str, ...], *addresses: str, at: str = "") -> Nic:
            of_target = machine == Role.TARGET
            return Nic(
                name,
                mac,
                links,
                addresses,
                at,
                routed=_each(f"{one.portal.address}/{_alone(one)}" for one in behind if of_target),
                routes=_each(
                    f"{one.portal.address} via {one.via}" for one in behind if not of_target
                ),
                mtu=self.mtu,
                vlan=self.vlan,
                shared=self.shared,
            )

        links = self.every_link
        if machine != Role.TARGET:
            return tuple(
                nic(link.name, link.initiator_mac, (link.name,), f"{link.address}/{prefix}")
                for link in links
                if link.machine == machine
            )
        addresses = tuple(f"{address}/{prefix}" for address in self.addresses(machine))
        names = tuple(link.name for link in links)
        if self.shared or len(links) == 1:
            return (nic(self.name, links[0].target_mac, names, *addresses),)
        return tuple(
            nic(link.name, link.target_mac, (link.name,), *addresses, at=f"br-{self.name}")
            for link in links
        )


def device_on(nic: str, vlan: int | None) -> str:
    """The name of the device for a VLAN on a NIC, as ip-link(8) has it; without one the NIC's."""
    return f"{nic}.{vlan}" if vlan else nic


def _each(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _alone(portal: TargetPortal) -> int:
    return portal.portal.address.max_prefixlen
