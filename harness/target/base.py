"""What every target kind can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

from harness.config.model import TargetConfig, TargetKind
from harness.machine import Machine
from harness.target.capabilities import Capabilities
from harness.topology import Topology

DATA_DISK = "/dev/disk/by-id/virtio-lun0"
DATA_DISK_SERIAL = "lun0"
BACKING_FILE = "/srv/pathproof/lun0.img"


class Target(ABC):
    """Target software that serves the one LUN of a topology on every portal.

    `vendor` and `product` are what INQUIRY tells, without the padding.
    """

    def __init__(self, config: TargetConfig, machine: Machine, topology: Topology) -> None:
        self.config = config
        self.machine = machine
        self.topology = topology

    @property
    @abstractmethod
    def kind(self) -> TargetKind:
        """What the configuration calls it."""

    @property
    @abstractmethod
    def vendor(self) -> str: ...

    @property
    @abstractmethod
    def product(self) -> str: ...

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What tests may require of it."""

    @property
    @abstractmethod
    def wwid(self) -> str:
        """The LUN's WWID as multipath-tools forms it, known before anything runs."""

    @abstractmethod
    def configure(self) -> None:
        """Serve the LUN, whatever was served before.

        Raises TargetError if what runs is not what was asked for.
        """

    def require_logins(self) -> None:  # noqa: B027  # most kinds know nothing more
        """Compare what sessions have negotiated and only the target can tell.

        Raises TargetError if it is not what was asked for.
        """

    def describe(self) -> str:
        """One line for the report."""
        parts: list[str] = [self.kind, self.config.backstore, self.config.write_cache]
        if chap := self.config.chap:
            parts.append("mutual CHAP" if chap.outgoing else "CHAP")
        return ", ".join(parts)


def storage_path(config: TargetConfig) -> str:
    """What the LUN's blocks are in."""
    return BACKING_FILE if config.backstore == "fileio" else DATA_DISK


def storage_script(config: TargetConfig, topology: Topology) -> str:
    """Shell script that readies the storage; it ends with a newline.

    A disk is told what to do with its cache, since targets believe what it says of that.
    """
    if config.backstore == "fileio":
        folder = BACKING_FILE.rpartition("/")[0]
        return f"mkdir -p {folder}\ntruncate -s {topology.lun.size} {BACKING_FILE}\n"
    cache = config.write_cache.replace("-", " ")
    disk = f"/sys/class/block/$(basename $(readlink -f {DATA_DISK}))"
    return f"echo {cache} >{disk}/cache_type\n"
