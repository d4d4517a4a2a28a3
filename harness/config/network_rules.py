"""What networks, portals and controllers of one configuration must have between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from itertools import combinations
from typing import NamedTuple

from harness.config.initiators import FIRST, FurtherInitiator
from harness.config.networks import ControllerConfig, NetworkConfig

_MAP = "map"  # MAP in harness.measurements
# Of every VM, by which the harness reaches it: see images/files/network.
_MANAGEMENT = IPv4Network("10.0.2.0/24")


class Way(NamedTuple):
    """A path by its name, with the names of what it is made of."""

    machine: str
    link: str
    portal: str
    controller: str
    path: str


def require_independent(networks: Sequence[NetworkConfig]) -> None:
    """Raises ValueError, which begins with the key, for networks that would not be."""
    paths = sum(len(network.portals) * len(network.initiator) for network in networks)
    if paths < 2:
        raise ValueError(
            f"networks: multipath needs at least two paths, {paths} given; add another "
            "[[networks]] with a subnet of its own, another portal, or another initiator address"
        )
    for one, other in combinations(networks, 2):
        if one.name == other.name:
            raise ValueError(f"networks: two are named {one.name!r}")
        if one.segment is not None and one.segment == other.segment:
            raise ValueError(
                f"networks: {one.name} and {other.name} are both on {one.segment}; one fault would "
                "take the paths of both, so each needs its own"
            )
        if one.subnet.version == other.subnet.version and one.subnet.overlaps(other.subnet):
            raise ValueError(
                f"networks: {one.name} ({one.subnet}) and {other.name} ({other.subnet}) "
                "overlap; one subnet per network, or the kernel would mix the paths"
            )


def require_apart_from_management(
    networks: Sequence[NetworkConfig], further: Sequence[FurtherInitiator]
) -> None:
    """Raises ValueError, which begins with the key, for what a VM would look for elsewhere."""
    for number, network in enumerate(networks):
        own = [*network.initiator, *network.at_target, *(one.address for one in network.portals)]
        others = [a for one in further for a in one.addresses.get(network.name, ())]
        for address in (*own, *others):
            if address in _MANAGEMENT:
                raise ValueError(
                    f"networks.{number}: {address} is in {_MANAGEMENT}, by which each VM is "
                    "managed, and would be looked for there; give other addresses"
                )


def require_names_apart(
    networks: Sequence[NetworkConfig], further: Sequence[FurtherInitiator]
) -> None:
    """Raises ValueError, which begins with the key, for links, portals or paths of one name."""
    if any(network.name == _MAP for network in networks):
        raise ValueError(
            f"networks: no network may be named {_MAP!r}: read-backs call the map of all paths so"
        )
    owners: dict[tuple[str, str], str] = {}
    for network in networks:
        for what, name in _named_on(network, further):
            if (owner := owners.setdefault((what, name), network.name)) != network.name:
                raise ValueError(
                    f"networks: {owner} and {network.name} would both have a {what} named {name}; "
                    "give one of them another name"
                )


def _named_on(
    network: NetworkConfig, further: Sequence[FurtherInitiator]
) -> Iterator[tuple[str, str]]:
    """Each link, portal and path on a network, of every initiator: what it is, and its name."""
    every = tuple(ways([network], further))
    yield from dict.fromkeys(("portal", way.portal) for way in every)
    yield from dict.fromkeys(("link", way.link) for way in every)
    yield from (("path", way.path) for way in every)


def ways(networks: Sequence[NetworkConfig], further: Sequence[FurtherInitiator]) -> Iterator[Way]:
    """Every path, by names as `plan` in harness.topology gives them."""
    for network in networks:
        nics = {FIRST: len(network.initiator)}
        nics |= {one.name: len(one.addresses.get(network.name, ())) for one in further}
        portals = zip(_numbers(len(network.portals)), network.portals, strict=True)
        named = [(f"{network.name}{number}", one.controller or "") for number, one in portals]
        for machine, count in nics.items():
            before = "" if machine == FIRST else f"{machine}-"
            for number in _numbers(count):
                after = f"-nic{number}" if number else ""
                link = f"{before}{network.name}{after}"
                for portal, controller in named:
                    yield Way(machine, link, portal, controller, f"{before}{portal}{after}")


def _numbers(count: int) -> list[str]:
    """From 1 on; one alone has none."""
    return [""] if count == 1 else [str(number) for number in range(1, count + 1)]


def require_each_portal_once(networks: Sequence[NetworkConfig], port: int) -> None:
    """Raises ValueError, which begins with the key. `port` is that of portals without their own."""
    for number, network in enumerate(networks):
        seen: dict[tuple[object, int], int] = {}
        for place, portal in enumerate(network.portals):
            at = portal.address, portal.port or port
            if at in seen:
                raise ValueError(
                    f"networks.{number}.portals.{place}: {at[0]} port {at[1]} is portal "
                    f"{seen[at] + 1} of the list already; each portal makes paths of its own"
                )
            seen[at] = place


def require_routes(networks: Sequence[NetworkConfig]) -> None:
    """Raises ValueError, which begins with the key, for a portal that no route could lead to."""
    taken: dict[object, str] = {}
    for number, network in enumerate(networks):
        for place, portal in enumerate(network.portals):
            if portal.via is None:
                continue
            key = f"networks.{number}.portals.{place}.via"
            way = f"{network.name} by {portal.via}"
            for other in networks:
                if portal.address in other.subnet:
                    raise ValueError(
                        f"{key}: {portal.address} is in the subnet of network {other.name}, and "
                        "the kernel would go there directly"
                    )
            if taken.setdefault(portal.address, way) != way:
                raise ValueError(
                    f"{key}: {portal.address} is reached over network {taken[portal.address]}, "
                    "too; a route leads one way"
                )


def require_controllers(
    networks: Sequence[NetworkConfig], controllers: Sequence[ControllerConfig]
) -> None:
    """Raises ValueError, which begins with the key, unless each portal has one, or none has."""
    known = [controller.name for controller in controllers]
    if len(set(known)) < len(known):
        raise ValueError(f"controllers: two have one name: {', '.join(known)}")
    used = set()
    for number, network in enumerate(networks):
        for place, portal in enumerate(network.portals):
            key = f"networks.{number}.portals.{place}.controller"
            if portal.controller is not None and portal.controller not in known:
                raise ValueError(
                    f"{key}: {portal.controller!r} is none of [[controllers]]; there are "
                    f"{', '.join(known) or 'none'}"
                )
            if portal.controller is None and known:
                raise ValueError(f"{key}: is missing; with [[controllers]] every portal has one")
            used.add(portal.controller)
    if idle := [name for name in known if name not in used]:
        raise ValueError(f"controllers: {', '.join(idle)} has no portal")
