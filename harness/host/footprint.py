"""What one testbed takes of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HypervisorError
from harness.host.folder import Folder
from harness.units import KIB

_BLOCK = 512  # the unit of st_blocks, inode(7)


@dataclass(frozen=True)
class Footprint:
    """Bytes: resident memory of all its QEMUs, and what its own disks occupy."""

    memory: int
    disk: int


def footprint(folder: Folder) -> Footprint:
    """The footprint of a testbed on this machine's embedded libvirt, whoever owns it.

    Raises HypervisorError if none of its machines runs here.
    """
    memory = sum(_resident(pid) for pid in _machines(folder))
    if not memory:
        raise HypervisorError(f"{folder.name}: no machine of it runs here")
    disks = folder.path.glob("*.qcow2")
    return Footprint(memory, sum(disk.stat().st_blocks * _BLOCK for disk in disks))


def _machines(folder: Folder) -> Iterator[int]:
    """The numbers of its QEMUs' processes."""
    for file in folder.root.glob("run/qemu/pathproof-*.pid"):
        yield int(file.read_text())


def _resident(pid: int) -> int:
    """The line `Rss:  301234 kB` (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * KIB
    raise HypervisorError(f"process {pid}: no Rss in its smaps_rollup")
