"""The wanted testbed as frozen data: machines, fabrics and portals, with every address fixed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from harness.config.model import AccessState, Config


class Role(StrEnum):
    """What a machine is for."""

    TARGET = "target"
    INITIATOR = "initiator"


@dataclass(frozen=True)
class Portal:
    """Where a target listens (RFC 7143 section 3.1)."""

    address: IPv4Address
    port: int = 3260

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Fabric:
    """One independent layer-2 network; its fault domain is one cable or one switch.

    `iqn` is the target's name at the portal.
    """

    name: str
    subnet: IPv4Network
    portal: Portal
    initiator: IPv4Address
    target_mac: str
    initiator_mac: str
    iqn: str
    network: str | None = None
    bridge: str | None = None
    access_state: AccessState = "optimized"

    def mac(self, role: Role) -> str:
        """The MAC address of this role's NIC on this fabric."""
        return self.target_mac if role is Role.TARGET else self.initiator_mac

    def address(self, role: Role) -> IPv4Address:
        """The address of this role on this fabric."""
        return self.portal.address if role is Role.TARGET else self.initiator


@dataclass(frozen=True)
class Lun:
    """The one logical unit: its size in bytes and its pinned serial (32 hex digits)."""

    size: int
    serial: str


@dataclass(frozen=True)
class Topology:
    """Everything about a testbed that is known before it exists.

    `guests` are the machines that are ours: VMs made for this testbed.
    """

    name: str
    fabrics: tuple[Fabric, ...]
    target_iqn: str
    initiator_iqn: str
    lun: Lun
    guests: tuple[Role, ...] = tuple(Role)

    @property
    def target_iqns(self) -> tuple[str, ...]:
        """Every name that the target has at a portal: some arrays have one for each."""
        return tuple(dict.fromkeys(fabric.iqn for fabric in self.fabrics))

    @property
    def cables(self) -> tuple[Fabric, ...]:
        """The fabrics that the hypervisor makes itself, from one guest to the other."""
        if len(self.guests) < len(Role):
            return ()
        return tuple(fabric for fabric in self.fabrics if not (fabric.network or fabric.bridge))

    def fabric(self, name: str) -> Fabric:
        """The fabric of that name. Raises KeyError with the known names."""
        for fabric in self.fabrics:
            if fabric.name == name:
                return fabric
        raise KeyError(f"no fabric {name!r}; there are {[f.name for f in self.fabrics]}")

    def fabric_of(self, address: IPv4Address | str) -> Fabric | None:
        """The fabric whose portal or whose initiator has that address; none has a text for it."""
        ends = (Role.TARGET, Role.INITIATOR)
        return next((f for f in self.fabrics if address in [*map(f.address, ends)]), None)


def management_mac(role: Role) -> str:
    """The MAC address of a role's management NIC; each guest's management network is its own."""
    return "52:54:00:70:70:01" if role is Role.TARGET else "52:54:00:70:70:02"


def plan(config: Config) -> Topology:
    """The topology that `config` describes; the same configuration gives the same addresses."""
    return Topology(
        name=config.name,
        fabrics=tuple(
            Fabric(
                name=fabric.name,
                subnet=fabric.subnet,
                portal=Portal(fabric.target, config.target.port),
                initiator=fabric.initiator,
                target_mac=_mac(config.name, fabric.name, Role.TARGET),
                initiator_mac=_mac(config.name, fabric.name, Role.INITIATOR),
                iqn=fabric.iqn or config.target.iqn,
                network=fabric.network,
                bridge=fabric.bridge,
                access_state=fabric.access_state,
            )
            for fabric in config.fabrics
        ),
        target_iqn=config.target.iqn,
        initiator_iqn=config.initiator.iqn,
        lun=Lun(config.target.lun_size, _digest(config.name, config.target.iqn, "lun 0")[:32]),
        guests=tuple(
            role
            for role, made in (
                (Role.TARGET, config.target.is_ours),
                (Role.INITIATOR, config.initiator.is_ours),
            )
            if made
        ),
    )


def _mac(*identity: str) -> str:
    """A stable address under QEMU's own prefix, so that two testbeds on one bridge differ."""
    digest = _digest(*identity)
    return ":".join(("52:54:00", digest[0:2], digest[2:4], digest[4:6]))


def _digest(*identity: str) -> str:
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()
