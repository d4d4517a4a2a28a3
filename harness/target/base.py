"""What every target kind can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

from harness.config.model import TargetConfig, TargetKind
from harness.machine import Machine
from harness.target.capabilities import Capabilities
from harness.topology import Lun, Topology

_FOLDER = "/srv/pathproof"


class Target(ABC):
    """Target software that serves the LUNs of a topology on every portal.

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

    @abstractmethod
    def wwid_of(self, lun: Lun) -> str:
        """A LUN's WWID as multipath-tools forms it, known before anything runs."""

    @property
    def wwids(self) -> tuple[str, ...]:
        """Those of the LUNs, in the order of the topology."""
        return tuple(self.wwid_of(lun) for lun in self.topology.luns)

    @abstractmethod
    def configure(self) -> None:
        """Serve the LUNs, whatever was served before.

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
        if (count := len(self.topology.luns)) > 1:
            several = len(self.topology.target_iqns)
            parts.append(f"{count} LUNs" + (f" in {several} targets" if several > 1 else ""))
        return ", ".join(parts)


def backing_file(lun: str) -> str:
    """The file in the target's file system that a LUN of that name is in, if it is in one."""
    return f"{_FOLDER}/{lun}.img"


def data_disk(lun: str) -> str:
    """The disk of the target that a LUN of that name is, if it is one: its serial is the name."""
    return f"/dev/disk/by-id/virtio-{lun}"


def storage_path(config: TargetConfig, lun: Lun) -> str:
    """What a LUN's blocks are in."""
    return backing_file(lun.name) if config.backstore == "fileio" else data_disk(lun.name)


def data_disks(config: TargetConfig, topology: Topology) -> tuple[Lun, ...]:
    """The LUNs for which a target that Pathproof makes has a disk.

    That of the first one is there even if LUNs are files: a guest is the same whatever serves it.
    """
    return topology.luns if config.backstore == "block" else topology.luns[:1]


def storage_script(config: TargetConfig, topology: Topology) -> str:
    """Shell script that readies the storage; it ends with a newline.

    The cache of a disk is set here, since targets go by what the disk reports of its cache.
    """
    lines = []
    if config.backstore == "fileio":
        lines += [f"mkdir -p {_FOLDER}"]
        lines += [f"truncate -s {lun.size} {storage_path(config, lun)}" for lun in topology.luns]
    else:
        cache = config.write_cache.replace("-", " ")
        for lun in topology.luns:
            disk = f"/sys/class/block/$(basename $(readlink -f {storage_path(config, lun)}))"
            lines += [f"echo {cache} >{disk}/cache_type"]
    return "".join(f"{line}\n" for line in lines)
