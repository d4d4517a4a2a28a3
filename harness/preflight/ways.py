"""Whether each path's packets leave by its NIC and arrive at the NIC that was planned; pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from harness.errors import MachineError, Problem
from harness.topology import Address, Path, Role, Topology, called
from harness.transport.bindings import NO_NIC, binding_command, binding_problem

MARK = "== "
_UNANSWERED = {"FAILED", "INCOMPLETE"}


@dataclass(frozen=True)
class Way:
    """Where the kernel sends packets: a device, and the router if there is one."""

    device: str
    router: Address | None = None


@dataclass(frozen=True)
class Neighbour:
    """Who has an address on a device: `mac` is "" where no machine answered."""

    mac: str
    state: str


@dataclass(frozen=True)
class Ways:
    """What an initiator knows of the ways to its portals.

    `routes` by path, without those to which there is no route. `neighbours` by device and address.
    `bound`: the NIC that a path is set up to log in to a target by, "" if by none; without logins
    of which that is not known.
    """

    routes: Mapping[str, Way]
    neighbours: Mapping[tuple[str, Address], Neighbour]
    bound: Mapping[tuple[str, str], str]


def ways_script(topology: Topology, devices: Mapping[str, str]) -> str:
    """Shell that prints what `parse_ways` reads; `devices` by link.

    Sources: ip-route(8), ip-neighbour(8).
    """
    lines = [f"echo '{MARK}neighbours'", "ip -json neighbour show"]
    for path in topology.paths:
        bound = path.link.bound
        argv = ["ip", "-json", "route", "get", str(path.portal.portal.address)]
        argv += ["oif", devices[path.link.name]] if bound else []
        lines += [f"echo '{MARK}route {path.name}'", f"{shlex.join(argv)} 2>/dev/null || :"]
        for target in topology.iqns_at(path.portal) if bound else ():
            lines += [f"echo '{MARK}bound {path.name} {target}'", binding_command(path, target)]
    return "\n".join(lines) + "\n"


def parse_ways(text: str) -> Ways:
    """What `ways_script` printed. Raises MachineError for anything else.

    Real parts: `[{"dst":"172.16.0.1","dev":"ens16","prefsrc":"172.16.0.101","flags":[]}]` of a
    route, `[{"dst":"172.16.0.1","dev":"ens16","lladdr":"52:54:00:77:f0:74","state":["STALE"]}]`.
    """
    parts: dict[str, str] = {}
    for part in f"\n{text}".split(f"\n{MARK}")[1:]:
        title, _, body = part.partition("\n")
        parts[title] = body.strip()
    try:
        return Ways(
            routes={
                title.removeprefix("route "): _way(json.loads(body)[0])
                for title, body in parts.items()
                if title.startswith("route ") and body
            },
            neighbours={
                (one["dev"], ip_address(one["dst"])): Neighbour(
                    one.get("lladdr", ""), " ".join(one.get("state", []))
                )
                for one in json.loads(parts.get("neighbours") or "[]")
            },
            bound={
                _path_and_target(title): "" if body == NO_NIC else body
                for title, body in parts.items()
                if title.startswith("bound ") and body
            },
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # another shape
        raise MachineError(f"not the ways to portals ({error!r}): {text[:200]!r}") from None


def _path_and_target(title: str) -> tuple[str, str]:
    _, path, iqn = title.split()
    return path, iqn


def _way(route: Mapping[str, Any]) -> Way:
    router = route.get("gateway") or route.get("via", {}).get("host")
    return Way(route["dev"], ip_address(router) if router else None)


def way_problems(topology: Topology, devices: Mapping[str, str], ways: Ways) -> Iterator[Problem]:
    """What of the ways to the portals is not as planned; `devices` by link."""
    for path in topology.paths:
        device = devices[path.link.name]
        found = [ways.bound.get((path.name, one), device) for one in topology.iqns_at(path.portal)]
        yield from (binding_problem(path, device, one) for one in found if one != device)
        yield from _route(path, devices, ways.routes.get(path.name))
    seen = set()
    for path in topology.paths:
        place = (devices[path.link.name], path.portal.next_hop)
        if place not in seen and (neighbour := ways.neighbours.get(place)):
            seen.add(place)
            yield from _neighbour(path, place[0], neighbour, topology)


def _route(path: Path, devices: Mapping[str, str], found: Way | None) -> Iterator[Problem]:
    device, portal = devices[path.link.name], path.portal
    cure = f"`ip route get {portal.portal.address}` must name {device}" + (
        f" and router {portal.via}; `ip route add {portal.portal.address} via {portal.via} dev "
        f"{device}`"
        if portal.via
        else ", the NIC of the portal's own network"
    )
    if found is None:
        yield Problem(f"{called(path.machine)} has no route to portal {portal}", cure)
    elif found.device != device:
        links = [link for link, name in devices.items() if name == found.device]
        of_link = f", the NIC of link {', '.join(links)}" if links else ""
        yield Problem(
            f"packets to portal {portal} leave by {found.device}{of_link}, and not by {device}, "
            f"the NIC of link {path.link.name}",
            cure,
        )
    elif found.router != portal.via:
        by = f"router {found.router}" if found.router else "no router"
        yield Problem(
            f"packets to portal {portal} go through {by} instead of "
            f"{f'router {portal.via}' if portal.via else 'none'}",
            cure if portal.via else f"{cure}; or give `via` in [[networks]]",
        )


def _neighbour(path: Path, device: str, found: Neighbour, topology: Topology) -> Iterator[Problem]:
    if not found.mac:
        if found.state in _UNANSWERED:
            yield no_answer(path, device)
        return
    if Role.TARGET not in topology.guests:
        return
    network = topology.network(path.link.network)
    if found.mac in {link.target_mac for link in network.every_link}:
        return
    ends = {link.target_mac: link.name for n in topology.networks for link in n.every_link}
    whose = (
        f"the target's NIC of link {ends[found.mac]}: cables are crossed"
        if found.mac in ends
        else "no NIC of the target: another machine has the address"
    )
    yield Problem(
        f"the machine that answers for {_where(path, device)} has MAC address {found.mac}, "
        f"which is {whose}",
        "plug each cable into the NIC of its own network; give the address to no other machine",
    )


def no_answer(path: Path, device: str) -> Problem:
    """That no machine has the address that a path's packets are sent to."""
    return Problem(
        f"no machine answers for {_where(path, device)}, the way to portal {path.portal}",
        "does the target have that address, on this network and in this VLAN?",
    )


def _where(path: Path, device: str) -> str:
    return f"{path.portal.next_hop} on {device} (link {path.link.name})"
