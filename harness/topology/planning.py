"""The topology that a configuration describes, with every address and identity fixed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from harness.config.initiators import initiator_names
from harness.config.model import Config
from harness.config.networks import NetworkConfig
from harness.topology.parts import (
    PLAIN_IFACE,
    Address,
    Controller,
    Link,
    Network,
    PlannedMachine,
    Portal,
    Role,
    TargetPortal,
)
from harness.topology.topology import Lun, Topology


def management_mac(machine: str) -> str:
    """The MAC address of a machine's management NIC; each guest's management network is its own."""
    return "52:54:00:70:70:01" if machine == Role.TARGET else "52:54:00:70:70:02"


def plan(config: Config, run: str = "") -> Topology:
    """The topology that `config` describes; the same configuration gives the same addresses.

    MAC addresses on shared networks differ between runs, of which `run` is to be unique: a run
    on another host that finds the IP addresses in use must not be taken for the one that has them.
    """
    networks = tuple(_network(config, network, run) for network in config.networks)
    # Testbeds on one network differ at least in their addresses.
    addresses = [str(a) for n in networks if n.shared for a in n.addresses(Role.TARGET)]
    first = config.initiator.iqn
    further = [
        PlannedMachine(one.name, Role.INITIATOR, one.iqn_beside(first)) for one in config.initiators
    ]
    machines = (
        PlannedMachine(Role.TARGET.value, Role.TARGET),
        PlannedMachine(Role.INITIATOR.value, Role.INITIATOR, first),
        *further,
    )
    made = {Role.TARGET: config.target.is_made, Role.INITIATOR: config.initiator.is_made}
    return Topology(
        name=config.name,
        networks=networks,
        luns=tuple(
            Lun(
                number,
                one.size or 0,
                _digest(config.name, config.target.iqn, f"lun {number}", *addresses)[:32],
                one.wwid or "",
                one.target_iqn or config.target.iqn,
                one.initiators or initiator_names(config),
                one.read_only or (),
            )
            for number, one in enumerate(config.every_lun)
        ),
        controllers=tuple(Controller(one.name, one.access_state) for one in config.controllers),
        guests=tuple(one.name for one in machines if made[one.role]),
        machines=machines,
        callouts=tuple(fault for one in config.callouts for fault in one.faults()),
    )


def _network(config: Config, network: NetworkConfig, run: str) -> Network:
    unique = (config.name, network.name, run) if network.segment else (config.name, network.name)
    named = {Role.INITIATOR.value: {one.name: one.initiator for one in config.networks}}
    named |= {one.name: one.addresses for one in config.initiators}
    links = tuple(
        link
        for machine, addresses in named.items()
        for link in _links(machine, network.name, addresses, unique)
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


def _links(
    machine: str,
    network: str,
    addresses: Mapping[str, Sequence[Address]],
    unique: tuple[str, ...],
) -> Iterator[Link]:
    """The links of an initiator on a network: one for each of its `addresses` there."""
    # Once there is an interface, open-iscsi makes records for it unless "default" is asked for.
    plain = PLAIN_IFACE if any(len(there) > 1 for there in addresses.values()) else ""
    named, own = network, unique
    if machine != Role.INITIATOR:
        named, own = f"{machine}-{network}", (*unique, f"machine {machine}")
    alone = len(addresses[network]) == 1
    for number, address in enumerate(addresses[network], start=1):
        nic = "" if alone else f"nic{number}"
        identity = (*own, nic) if nic else own
        yield Link(
            name=f"{named}-{nic}" if nic else named,
            network=network,
            address=address,
            initiator_mac=_mac(*identity, Role.INITIATOR),
            target_mac=_mac(*identity, Role.TARGET),
            iface=f"pathproof-{network}-{nic}" if nic else plain,
            machine=machine,
            nic=nic,
        )


def _mac(*identity: str) -> str:
    """A stable address under QEMU's own prefix, so that two testbeds on one bridge differ."""
    digest = _digest(*identity)
    return ":".join(("52:54:00", digest[0:2], digest[2:4], digest[4:6]))


def _digest(*identity: str) -> str:
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()
