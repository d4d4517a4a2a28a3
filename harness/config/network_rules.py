"""What networks, portals and controllers of one configuration must have between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from harness.config.networks import ControllerConfig, NetworkConfig


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


def require_names_apart(networks: Sequence[NetworkConfig]) -> None:
    """Raises ValueError, which begins with the key, for links or portals of one name."""
    links = [(n.name, name) for n in networks for name in _named(n.name, "-nic", len(n.initiator))]
    portals = [(n.name, name) for n in networks for name in _named(n.name, "", len(n.portals))]
    for what, owned in (("link", links), ("portal", portals)):
        owners: dict[str, str] = {}
        for network, name in owned:
            if (owner := owners.setdefault(name, network)) != network:
                raise ValueError(
                    f"networks: {owner} and {network} would both have a {what} named {name}; give "
                    "one of them another name"
                )


def _named(network: str, suffix: str, count: int) -> list[str]:
    """The names of a network's links or portals, as `plan` in harness.topology gives them."""
    if count == 1:
        return [network]
    return [f"{network}{suffix}{number}" for number in range(1, count + 1)]


def require_each_portal_once(networks: Sequence[NetworkConfig], port: int) -> None:
    """Raises ValueError, which begins with the key. `port` is that of portals without their own."""
    for number, network in enumerate(networks):
        seen: dict[tuple[object, int], int] = {}
        for place, portal in enumerate(network.portals):
            at = portal.address, portal.port or port
            if at in seen:
                raise ValueError(
                    f"networks.{number}.portals.{place}: {at[0]} port {at[1]} is portal "
                    f"{seen[at]} of the list already; each portal makes paths of its own"
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
