"""What every target kind can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

from harness.machine import Machine
from harness.topology import Topology

DATA_DISK = "/dev/disk/by-id/virtio-lun0"
DATA_DISK_SERIAL = "lun0"


class Target(ABC):
    """Target software that serves the one LUN of a topology on one portal per fabric."""

    def __init__(self, machine: Machine, topology: Topology) -> None:
        self.machine = machine
        self.topology = topology

    @property
    @abstractmethod
    def wwid(self) -> str:
        """The LUN's WWID as multipath-tools forms it, known before anything runs."""

    @abstractmethod
    def configure(self) -> None:
        """Serve the LUN. Raises TargetError if what runs is not what was asked for."""
