"""The topology that a configuration describes, with every address and identity fixed."""

from __future__ import annotations

import hashlib

from harness.config.model import Config
from harness.config.networks import NetworkConfig
from harness.topology.parts import (
    PLAIN_IFACE,
    Controller,
    Link,
    Network,
    Portal,
    Role,
    TargetPortal,
)
from harness.topology.topology import Lun, Topology


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
        initiator_iqn=config.initiator.iqn,
        luns=tuple(
            Lun(
                number,
                one.size or 0,
                _digest(config.name, config.target.iqn, f"lun {number}", *addresses)[:32],
                one.wwid or "",
                one.target_iqn or config.target.iqn,
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
    unique = (config.name, network.name, run) if network.segment else (config.name, network.name)
    # Once there is an interface, open-iscsi makes records for it unless "default" is asked for.
    plain = PLAIN_IFACE if any(len(one.initiator) > 1 for one in config.networks) else ""
    links = tuple(
        _link(network, number, unique, plain) for number in range(1, len(network.initiator) + 1)
    )
    portals = tuple(
        TargetPortal(
            name=network.name if len(network.portals) == 1 else f"{network.name}{number}",
            network=network.name,
            portal=Portal(one.address, one.port or config.target.port),
            iqn=one.iqn,
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
