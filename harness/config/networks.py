"""The networks between target and initiator, and the portals that the target has on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from harness.config.base import Model

AccessState = Literal["optimized", "non-optimized"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,7}$")]

_Item = TypeVar("_Item")
_EVERYBODY = IPv4Address("255.255.255.255")  # the limited broadcast, RFC 919
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[^\[\]:]+))(?::(?P<port>\d+))?")


def _portal(value: object) -> object:
    """A portal written as "172.16.0.1", "172.16.0.1:3261", "fd00::1" or "[fd00::1]:3261"."""
    if not isinstance(value, str):
        return value
    if value.count(":") > 1 and not value.startswith("["):
        return {"address": value}
    found = _WITH_PORT.fullmatch(value)
    if found is None:
        return {"address": value}  # the address says what is wrong
    given: dict[str, Any] = {"address": found["v6"] or found["v4"]}
    return given | ({"port": int(found["port"])} if found["port"] else {})


def _address(value: object) -> object:
    return ip_address(value) if isinstance(value, str) else value


def _of_a_nic(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Raises ValueError for what is no address of one NIC that others reach by it alone."""
    for why in _why_of_no_nic(address):
        raise ValueError(f"{address} {why}")
    return address


def _why_of_no_nic(address: IPv4Address | IPv6Address) -> Iterator[str]:
    """Each reason, to follow the address."""
    if address.is_multicast:
        yield "is a multicast address; no machine can have it"
    if address.is_loopback:
        yield "is a loopback address, which leads to the machine itself"
    if address.is_unspecified or address == _EVERYBODY:
        yield "is the address of no machine"
    if isinstance(address, IPv4Address):
        return
    if address.is_link_local:  # RFC 4007 section 6: it says nothing without a zone
        yield "is link-local, and needs a NIC's name beside it; give another, as of fd00::/8"
    if address.scope_id is not None:
        yield f"names a zone; leave %{address.scope_id} out"
    if address.ipv4_mapped is not None:  # RFC 4291 section 2.5.5.2
        yield f"stands for an address of IPv4; write {address.ipv4_mapped}"


def _subnet(value: object) -> object:
    """Without the length of its prefix it would be a subnet of one address."""
    if not isinstance(value, str):
        return value
    if "/" not in value:
        raise ValueError(f"{value!r} has no prefix length; write it as 172.16.0.0/24")
    return ip_network(value)


def _one_at_least(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    if not values:
        raise ValueError("give at least one")
    return values


def _several(value: object) -> object:
    """One address may be written without brackets."""
    return value if isinstance(value, list | tuple) else (value,)


# With one message for what is neither, instead of one for each.
Address = Annotated[IPv4Address | IPv6Address, BeforeValidator(_address), AfterValidator(_of_a_nic)]
Addresses = Annotated[tuple[Address, ...], BeforeValidator(_several), AfterValidator(_one_at_least)]
Subnet = Annotated[IPv4Network | IPv6Network, BeforeValidator(_subnet)]


def of_no_machine(address: IPv4Address | IPv6Address, subnet: IPv4Network | IPv6Network) -> str:
    """Why no machine can have an address of the subnet, to follow it; empty if one can.

    A subnet of two addresses has neither (RFC 3021, RFC 6164), nor has one of a single address.
    """
    if subnet.num_addresses <= 2:
        return ""
    if address == subnet.network_address:
        if address.version == 6:  # RFC 4291 section 2.6.1
            return f"is the anycast address of the routers of {subnet}; no machine can have it"
        return f"is the network address of {subnet}; no machine can have it"
    if address.version == 4 and address == subnet.broadcast_address:
        return f"is the broadcast address of {subnet}; no machine can have it"
    return ""


class PortalConfig(Model):
    """A portal of the target: an address on the network, and what belongs to it."""

    address: Address
    port: int | None = Field(None, ge=1, le=65535, description="else that of [target]")
    controller: Name | None = Field(
        None, description="name of one of [[controllers]]: its portals fail together"
    )
    iqn: str | None = Field(
        None, description="an external target's name at this portal, where it is not target.iqn"
    )
    via: IPv4Address | IPv6Address | None = Field(
        None, description="the router's address on the network, for a portal outside its subnet"
    )


class ControllerConfig(Model):
    """A controller of the target: a group of portals that fail together."""

    name: Name
    access_state: AccessState = Field(
        "optimized", description="what ALUA reports of its portals; only kind 'lio' can set it"
    )


class NetworkConfig(Model):
    """One layer-2 network between target and initiator, with a subnet of its own.

    Neither `libvirt_network` nor `bridge`: cables made by the hypervisor, one for each address of
    the initiator.
    """

    name: Name
    subnet: Subnet
    portals: Annotated[
        tuple[Annotated[PortalConfig, BeforeValidator(_portal)], ...], AfterValidator(_one_at_least)
    ] = Field(description="where the target listens: addresses, or tables")
    initiator: Addresses = Field(description="the initiator's address; several for a NIC each")
    libvirt_network: str | None = Field(None, min_length=1, description="name of a libvirt network")
    bridge: str | None = Field(None, min_length=1, description="name of a bridge on the hypervisor")
    mtu: int | None = Field(
        None,
        ge=1280,
        le=65521,
        description="of the NICs and cables, such as 9000; the preflight proves it end to end",
    )
    vlan: int | None = Field(
        None, ge=1, le=4094, description="the NICs' frames have this tag (IEEE 802.1Q)"
    )

    @property
    def at_target(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """Every address that the target, or a router before it, has in the subnet."""
        return tuple(dict.fromkeys(portal.via or portal.address for portal in self.portals))

    @property
    def segment(self) -> str | None:
        """The layer-2 segment that it is on, a bridge or a network of libvirt; None for cables."""
        if self.bridge:
            return f"bridge {self.bridge}"
        return f"network {self.libvirt_network}" if self.libvirt_network else None

    @model_validator(mode="after")
    def _addresses_fit(self) -> Self:
        for end in self.at_target:
            if end not in self.subnet:
                raise ValueError(
                    f"network {self.name}: {end} is not in {self.subnet}; a portal behind a "
                    "router has `via`, the router's address in the subnet"
                )
        for end in self.initiator:
            if end not in self.subnet:
                raise ValueError(
                    f"network {self.name}: the initiator's address {end} is not in {self.subnet}"
                )
        for end in (*self.at_target, *self.initiator):
            if why := of_no_machine(end, self.subnet):
                raise ValueError(f"network {self.name}: {end} {why}")
        for end in self.at_target:
            if end in self.initiator:
                raise ValueError(f"network {self.name}: target and initiator share {end}")
        if len(set(self.initiator)) < len(self.initiator):
            raise ValueError(f"network {self.name}: the initiator has an address twice")
        if self.libvirt_network and self.bridge:
            raise ValueError(f"network {self.name}: give 'libvirt_network' or 'bridge', not both")
        return self

    @model_validator(mode="after")
    def _routes_fit(self) -> Self:
        for portal in self.portals:
            if portal.via is None:
                continue
            if portal.address in self.subnet:
                raise ValueError(
                    f"network {self.name}: {portal.address} is in {self.subnet}, so no router is "
                    "between; leave `via` out"
                )
            if portal.address.version != portal.via.version:
                raise ValueError(
                    f"network {self.name}: {portal.address} and its router {portal.via} are not "
                    "of one version of IP"
                )
            if len(self.initiator) > 1:
                raise ValueError(
                    f"network {self.name}: a portal with `via` needs a network where the "
                    "initiator has one address: a route has one NIC"
                )
        return self


def default_networks() -> tuple[NetworkConfig, ...]:
    """Two cables with a portal each: 172.16.0.1 and 172.16.1.1, the initiator at .101."""
    return tuple(
        NetworkConfig(
            name=name,
            subnet=IPv4Network(f"172.16.{number}.0/24"),
            portals=(PortalConfig(address=IPv4Address(f"172.16.{number}.1")),),
            initiator=(IPv4Address(f"172.16.{number}.101"),),
        )
        for number, name in enumerate("ab")
    )
