"""The wanted testbed as frozen data: networks, links, portals, and the paths that they make."""

from harness.topology.parts import (
    Address,
    Controller,
    Link,
    Network,
    Nic,
    Portal,
    Role,
    Subnet,
    TargetPortal,
)
from harness.topology.planning import management_mac, plan
from harness.topology.topology import Lun, Path, Topology

__all__ = [
    "Address",
    "Controller",
    "Link",
    "Lun",
    "Network",
    "Nic",
    "Path",
    "Portal",
    "Role",
    "Subnet",
    "TargetPortal",
    "Topology",
    "management_mac",
    "plan",
]
