"""What one testbed takes of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import HypervisorError
from harness.testbed.site import Site
from harness.testbed.testbed import Testbed
from harness.topology import Role
from harness.units import KIB

_BLOCK = 512  # the unit of st_blocks, inode(7)


@dataclass(frozen=True)
class Footprint:
    """Bytes: resident memory of both QEMUs, and what the testbed's own disks occupy."""

    memory: int
    disk: int


def footprint(site: Site, testbed: Testbed) -> Footprint:
    """Of a testbed that runs on this machine. Raises HypervisorError if it does not."""
    pids = [testbed.domain(role).pid for role in Role]
    if None in pids:
        raise HypervisorError("the machines do not run here, so their memory cannot be seen")
    disks = site.folder.path.glob("*.qcow2")
    return Footprint(
        memory=sum(_resident(Path(f"/proc/{pid}/smaps_rollup")) for pid in pids),
        disk=sum(disk.stat().st_blocks * _BLOCK for disk in disks),
    )


def _resident(rollup: Path) -> int:
    """The line `Rss:  301234 kB` (proc(5))."""
    for line in rollup.read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * KIB
    raise HypervisorError(f"{rollup} has no Rss")
