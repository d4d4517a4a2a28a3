"""How samples look at maps of dm-multipath: inside the machine, and where the host reads them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from ipaddress import ip_address
from typing import Any

from harness.observe import MapDisk, MapProbe, MapSample
from harness.transport.dm_multipath.status import parse_multipath_status, parse_reserve


def parse_map(told: Mapping[str, Any]) -> MapSample:
    """What a sample tells of one map: its status line, its number, and where its disks are."""
    status: str = told["status"]
    return MapSample(
        paths=parse_multipath_status(status),
        reserve=parse_reserve(status),
        number=told["number"],
        disks={
            disk: MapDisk(name, f"session{session}" if session else "", _origin(origin))
            for disk, (name, session, origin) in told["where"].items()
        },
    )


def _origin(text: str) -> str:
    """An origin with its IPv6 address in the shortest form, whatever form the node record has."""
    portal, _, interface = text.rpartition(",")
    address, _, port = portal.rpartition(":")
    try:
        return f"{ip_address(address)}:{port},{interface}"
    except ValueError:  # a host name, or nothing
        return text


MAPS = MapProbe(files("harness.transport").joinpath("resident_maps.py").read_text(), parse_map)
