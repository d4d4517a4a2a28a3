"""The wanted testbed as frozen data: networks, links, portals, and the paths that they make."""

from harness.topology.parts import (
    Address,
    Controller,
    Link,
    Network,
    Nic,
    PlannedMachine,
    Portal,
    Role,
    Subnet,
    TargetPortal,
    called,
)
from harness.topology.planning import management_mac, plan
from harness.topology.topology import Lun, Path, PlannedMap, Topology

__all__ = [
    "Address",
    "Controller",
    "Link",
    "Lun",
    "Network",
    "Nic",
    "Path",
    "PlannedMachine",
    "PlannedMap",
    "Portal",
    "Role",
    "Subnet",
    "TargetPortal",
    "Topology",
    "called",
    "management_mac",
    "plan",
]
