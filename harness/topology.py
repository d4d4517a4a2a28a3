"""The wanted testbed as frozen data: networks, links, portals, and the paths that they make."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

from harness.config.model import Config
from harness.config.networks import AccessState, NetworkConfig

# The interface of open-iscsi that is bound to no NIC; source: iscsiadm(8).
_PLAIN_IFACE = "default"
Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network
_Part = TypeVar("_Part", "Network", "Link", "TargetPortal", "Path", "Controller")


class Role(StrEnum):
    """What a machine is for."""

    TARGET = "target"
    INITIATOR = "initiator"


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

    `iqn` is the target's name at this portal. `controller` is "" if there are none. `via` is the
    router's address on the network, if the portal is outside its subnet.
    """

    name: str
    network: str
    portal: Portal
    iqn: str
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
    """A NIC of the initiator on a network, with the address that it has there.

    On a network of the hypervisor's own it is a cable, whose other end is a NIC of the target.
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

    @property
    def bound(self) -> bool:
        """Whether sessions are bound to this NIC, whatever the routes say."""
        return self.iface not in {"", _PLAIN_IFACE}


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


@dataclass(frozen=True)
class Network:
    """One layer-2 network with its subnet.

    With neither `libvirt_network` nor `bridge` each of its links is a cable of the hypervisor's.
    """

    name: str
    subnet: Subnet
    links: tuple[Link, ...]
    portals: tuple[TargetPortal, ...]
    libvirt_network: str | None = None
    bridge: str | None = None
    mtu: int | None = None
    vlan: int | None = None

    @property
    def shared(self) -> bool:
        """Whether there may be other machines; else it has cables of the hypervisor's own."""
        return bool(self.libvirt_network or self.bridge)

    @property
    def wire(self) -> str:
        """What other testbeds may be on, too; empty for cables."""
        tagged = f" VLAN {self.vlan}" if self.vlan else ""
        if self.bridge:
            return f"bridge {self.bridge}{tagged}"
        return f"network {self.libvirt_network}{tagged}" if self.libvirt_network else ""

    def device(self, nic: str) -> str:
        """The device that has the addresses of a NIC here: itself, or that of the VLAN on it."""
        return f"{nic}.{self.vlan}" if self.vlan else nic

    def addresses(self, role: Role) -> tuple[Address, ...]:
        """Every address that a role has in the subnet, each once."""
        if role is Role.INITIATOR:
            return tuple(link.address for link in self.links)
        return tuple(dict.fromkeys(one.next_hop for one in self.portals))

    def nics(self, role: Role) -> tuple[Nic, ...]:
        """The NICs of a role on this network.

        The initiator has one for each link, and so has a target with cables; on a network that
        others use, too, the target has one.
        """
        prefix = self.subnet.prefixlen
        behind = [one for one in self.portals if one.via is not None]

        def nic(name: str, mac: str, links: tuple[str, ...], *addresses: str, at: str = "") -> Nic:
            of_target = role is Role.TARGET
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

        if role is Role.INITIATOR:
            return tuple(
                nic(link.name, link.initiator_mac, (link.name,), f"{link.address}/{prefix}")
                for link in self.links
            )
        addresses = tuple(f"{address}/{prefix}" for address in self.addresses(role))
        names = tuple(link.name for link in self.links)
        if self.shared or len(self.links) == 1:
            return (nic(self.name, self.links[0].target_mac, names, *addresses),)
        return tuple(
            nic(link.name, link.target_mac, (link.name,), *addresses, at=f"br-{self.name}")
            for link in self.links
        )


def _each(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _alone(portal: TargetPortal) -> int:
    return portal.portal.address.max_prefixlen


@dataclass(frozen=True)
class Path:
    """One way from the initiator to the LUN: a session from a link to a portal.

    Whatever is measured, judged, broken and reported has this name; the SCSI disk that it is at
    the moment (`sda`) has another one after the next login.
    """

    name: str
    link: Link
    portal: TargetPortal

    def __str__(self) -> str:
        return f"{self.name} ({self.link.address} to {self.portal.portal})"


@dataclass(frozen=True)
class Lun:
    """A logical unit: its place among those of the target, and its name in reports ("lun0").

    Of one that the target makes: its size in bytes and its pinned serial (32 hex digits). Of one
    of an external target: its WWID, as multipath-tools has it, "" if it was not named.
    """

    number: int
    size: int
    serial: str
    wwid: str = ""

    @property
    def name(self) -> str:
        return f"lun{self.number}"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Topology:
    """Everything about a testbed that is known before it exists.

    `guests` are the roles whose machines are made for this testbed.
    """

    name: str
    networks: tuple[Network, ...]
    target_iqn: str
    initiator_iqn: str
    luns: tuple[Lun, ...]
    controllers: tuple[Controller, ...] = ()
    guests: tuple[Role, ...] = tuple(Role)

    @property
    def links(self) -> tuple[Link, ...]:
        """Every link, in the order of the networks."""
        return tuple(link for network in self.networks for link in network.links)

    @property
    def portals(self) -> tuple[TargetPortal, ...]:
        """Every portal, in the order of the networks."""
        return tuple(portal for network in self.networks for portal in network.portals)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path, in the order of the networks: from each link to each portal there."""
        return tuple(
            Path(_path_name(network, link, portal), link, portal)
            for network in self.networks
            for link in network.links
            for portal in network.portals
        )

    @property
    def target_iqns(self) -> tuple[str, ...]:
        """Every name that the target has at a portal: some arrays have one for each."""
        return tuple(dict.fromkeys(portal.iqn for portal in self.portals))

    @property
    def shared(self) -> tuple[Network, ...]:
        """The networks where there may be others, other testbeds among them."""
        return tuple(network for network in self.networks if network.shared)

    @property
    def cables(self) -> tuple[Link, ...]:
        """The links that the hypervisor makes itself, from one guest to the other."""
        if len(self.guests) < len(Role):
            return ()
        return tuple(link for n in self.networks if not n.shared for link in n.links)

    def network(self, name: str) -> Network:
        """The network of that name. Raises KeyError with the known names."""
        return _named(self.networks, name, "network")

    def link(self, name: str) -> Link:
        """The link of that name. Raises KeyError with the known names."""
        return _named(self.links, name, "link")

    def portal(self, name: str) -> TargetPortal:
        """The portal of that name. Raises KeyError with the known names."""
        return _named(self.portals, name, "portal")

    def path(self, name: str) -> Path:
        """The path of that name. Raises KeyError with the known names."""
        return _named(self.paths, name, "path")

    def controller(self, name: str) -> Controller:
        """The controller of that name. Raises KeyError with the known names."""
        return _named(self.controllers, name, "controller")

    def access_state(self, portal: TargetPortal) -> AccessState:
        """What ALUA tells of a portal: the state of its controller."""
        return self.controller(portal.controller).access_state if portal.controller else "optimized"

    def nics(self, role: Role) -> tuple[Nic, ...]:
        """Every data NIC of a role, in the order of the networks."""
        return tuple(nic for network in self.networks for nic in network.nics(role))

    def nic_at(self, role: Role, link: str) -> Nic:
        """The NIC of a role at its end of a link."""
        network = self.network(self.link(link).network)
        return next(nic for nic in network.nics(role) if link in nic.links)

    def over_link(self, name: str) -> tuple[str, ...]:
        """The names of the paths that begin at a link."""
        return tuple(path.name for path in self.paths if path.link.name == name)

    def over_portal(self, name: str) -> tuple[str, ...]:
        """The names of the paths that lead to a portal."""
        return tuple(path.name for path in self.paths if path.portal.name == name)

    def ifaces_to(self, portal: TargetPortal) -> tuple[str, ...]:
        """The interfaces of open-iscsi by which the initiator logs in at a portal."""
        return tuple(link.iface for link in self.network(portal.network).links)

    def link_of(self, address: Address | None) -> Link | None:
        """The link whose NIC has that address."""
        return next((link for link in self.links if link.address == address), None)

    def path_of(self, portal: Portal | None, iface: str) -> Path | None:
        """The path of a session that was made to `portal` by an interface of open-iscsi.

        Where one link leads to the portal the session is that path by whatever interface.
        """
        found = [path for path in self.paths if path.portal.portal == portal]
        if len(found) == 1:
            return found[0]
        return next((path for path in found if path.link.iface == iface), None)


def _named(every: Iterable[_Part], name: str, what: str) -> _Part:
    known = {one.name: one for one in every}
    if name not in known:
        raise KeyError(f"no {what} {name!r}; there are {list(known)}")
    return known[name]


def _path_name(network: Network, link: Link, portal: TargetPortal) -> str:
    """The portal's name, with the NIC if there are several."""
    return portal.name if len(network.links) == 1 else f"{portal.name}-{_nic_of(network, link)}"


def _nic_of(network: Network, link: Link) -> str:
    return f"nic{network.links.index(link) + 1}"


def management_mac(role: Role) -> str:
    """The MAC address of a role's management NIC; each guest's management network is its own."""
    return "52:54:00:70:70:01" if role is Role.TARGET else "52:54:00:70:70:02"


def plan(config: Config, run: str = "") -> Topology:
    """The topology that `config` describes; the same configuration gives the same addresses.

    MAC addresses on shared networks differ between runs, of which `run` is to be unique: a run
    on another host that finds the IP addresses in use must not be taken for the one that has them.
    """
    networks = tuple(_network(config, network, run) for network in config.networks)
    # Testbeds on one network differ at least in their addresses.
    addresses = [str(a) for n in networks if n.shared for a in n.addresses(Role.TARGET)]
    return Topology(
        name=config.name,
        networks=networks,
        target_iqn=config.target.iqn,
        initiator_iqn=config.initiator.iqn,
        luns=tuple(
            Lun(
                number,
                one.size or 0,
                _digest(config.name, config.target.iqn, f"lun {number}", *addresses)[:32],
                one.wwid or "",
            )
            for number, one in enumerate(config.every_lun)
        ),
        controllers=tuple(Controller(one.name, one.access_state) for one in config.controllers),
        guests=tuple(
            role
            for role, made in (
                (Role.TARGET, config.target.is_made),
                (Role.INITIATOR, config.initiator.is_made),
            )
            if made
        ),
    )


def _network(config: Config, network: NetworkConfig, run: str) -> Network:
    unique = (config.name, network.name, run) if network.wire else (config.name, network.name)
    # Once there is an interface, open-iscsi makes records for it unless "default" is asked for.
    plain = _PLAIN_IFACE if any(len(one.initiator) > 1 for one in config.networks) else ""
    links = tuple(
        _link(network, number, unique, plain) for number in range(1, len(network.initiator) + 1)
    )
    portals = tuple(
        TargetPortal(
            name=network.name if len(network.portals) == 1 else f"{network.name}{number}",
            network=network.name,
            portal=Portal(one.address, one.port or config.target.port),
            iqn=one.iqn or config.target.iqn,
            controller=one.controller or "",
            via=one.via,
        )
        for number, one in enumerate(network.portals, start=1)
    )
    return Network(
        name=network.name,
        subnet=network.subnet,
        links=links,
        portals=portals,
        libvirt_network=network.libvirt_network,
        bridge=network.bridge,
        mtu=network.mtu,
        vlan=network.vlan,
    )


def _link(network: NetworkConfig, number: int, unique: tuple[str, ...], plain: str) -> Link:
    """The link of the initiator's NIC of that number, from 1 on; `plain` needs no interface."""
    alone = len(network.initiator) == 1
    identity = unique if alone else (*unique, f"nic{number}")
    return Link(
        name=network.name if alone else f"{network.name}-nic{number}",
        network=network.name,
        address=network.initiator[number - 1],
        initiator_mac=_mac(*identity, Role.INITIATOR),
        target_mac=_mac(*identity, Role.TARGET),
        iface=plain if alone else f"pathproof-{network.name}-nic{number}",
    )


def _mac(*identity: str) -> str:
    """A stable address under QEMU's own prefix, so that two testbeds on one bridge differ."""
    digest = _digest(*identity)
    return ":".join(("52:54:00", digest[0:2], digest[2:4], digest[4:6]))


def _digest(*identity: str) -> str:
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()
