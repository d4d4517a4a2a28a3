"""The disks of a guest: their serials, and what the guest calls them. Pure."""

from __future__ import annotations

from string import ascii_lowercase

from harness.config.model import TargetConfig
from harness.target.base import data_disks
from harness.topology import Role, Topology

SYSTEM_DISK_SERIAL = "system"


def serials(machine: str, config: TargetConfig, topology: Topology) -> tuple[str, ...]:
    """The serials of a machine's disks, in their order: the system, then the target's LUNs."""
    luns = data_disks(config, topology) if machine == Role.TARGET else ()
    return (SYSTEM_DISK_SERIAL, *(lun.name for lun in luns))


def disk_names(machine: str, config: TargetConfig, topology: Topology) -> tuple[str, ...]:
    """What the guest calls these disks: virtio names them in the order of their PCI slots."""
    disks = serials(machine, config, topology)
    return tuple(f"vd{letter}" for letter, _ in zip(ascii_lowercase, disks, strict=False))


def disks_of_luns(config: TargetConfig, topology: Topology) -> tuple[str, ...]:
    """Those of them at the target that its LUNs are on: the system's, if LUNs are files there."""
    system, *luns = disk_names(Role.TARGET, config, topology)
    return (system,) if config.backstore == "fileio" else tuple(luns)
