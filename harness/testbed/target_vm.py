"""The hypervisor's end of the target's VM, as far as faults need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.config.model import TargetConfig
from harness.testbed.guest_disks import disks_of_luns
from harness.topology import Topology

if TYPE_CHECKING:
    from harness.hypervisor.domain import Domain


class TargetVm:
    """What stops and slows down the target from outside. Implements `harness.faults.TargetVm`."""

    def __init__(self, domain: Domain, config: TargetConfig, topology: Topology) -> None:
        self._domain = domain
        self._disks = disks_of_luns(config, topology)

    @property
    def is_running(self) -> bool:
        return self._domain.is_running

    def set_running(self, *, running: bool) -> None:
        """libvirt refuses to let a VM run that does."""
        if self.is_running is not running:
            self._domain.resume() if running else self._domain.pause()

    def limits(self) -> Mapping[str, tuple[int, int]]:
        return {disk: self._domain.disk_limits(disk) for disk in self._disks}

    def limit_disks(self, *, bytes_per_s: int, ios_per_s: int) -> None:
        for disk, has in self.limits().items():
            if has != (bytes_per_s, ios_per_s):
                self._domain.limit_disk(disk, bytes_per_s, ios_per_s)
