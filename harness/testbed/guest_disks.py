"""The disks of a guest: their serials, and what the guest calls them. Pure."""

from __future__ import annotations

from harness.target.base import DATA_DISK_SERIAL
from harness.topology import Role

SYSTEM_DISK_SERIAL = "system"


def serials(role: Role) -> tuple[str, ...]:
    """The serials of a role's disks, in their order: the system, then the target's LUN."""
    return (SYSTEM_DISK_SERIAL, *((DATA_DISK_SERIAL,) if role is Role.TARGET else ()))


def disk_names(role: Role) -> tuple[str, ...]:
    """What the guest calls these disks: virtio names them in the order of their PCI slots."""
    return tuple(f"vd{letter}" for letter, _ in zip("abc", serials(role), strict=False))
