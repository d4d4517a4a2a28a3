"""iSCSI with dm-multipath, as one transport: each part by itself is in the modules beside this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from harness.config import Config
from harness.config.negotiation import Negotiation
from harness.machine import Machine
from harness.measurements import DiskError, KernelLog, PathCounters, Wording
from harness.observe import MapProbe
from harness.timeline import Event
from harness.topology import Topology
from harness.transport import kernel_events
from harness.transport.disk_errors import disk_errors
from harness.transport.dm_multipath.multipath_conf import READ_EVERY_PATH
from harness.transport.existing import ExistingInitiator
from harness.transport.features import Features, features_argv, parse_features
from harness.transport.initiator import IscsiInitiator
from harness.transport.lun_devices import LunDevices
from harness.transport.map_probe import MAPS
from harness.transport.wording import WORDING

_Kind = TypeVar("_Kind", bound=IscsiInitiator)


class IscsiMultipath:
    """A `Transport`."""

    maps: MapProbe = MAPS
    wording: Wording = WORDING
    read_every_path: str = READ_EVERY_PATH

    def initiator(
        self, config: Config, machine: Machine, topology: Topology, wwids: tuple[str, ...]
    ) -> IscsiInitiator:
        """That of a machine of the testbed, for the LUNs of these WWIDs."""
        return _made(IscsiInitiator, config, machine, topology, wwids)

    def existing_initiator(
        self, config: Config, machine: Machine, topology: Topology, wwids: tuple[str, ...]
    ) -> ExistingInitiator:
        """That of a machine which was there before the run, and serves others, too."""
        return _made(ExistingInitiator, config, machine, topology, wwids)

    def kernel_events(
        self, log: KernelLog, lun: LunDevices, uncertainty_ns: int
    ) -> Iterator[Event]:
        """What a machine's kernel log says of the LUN's sessions, paths and map."""
        return kernel_events.events(log, lun, uncertainty_ns)

    def features_argv(self, disk: str) -> list[str]:
        """Ask a path's disk, by its name, what it can do."""
        return features_argv(disk)

    def parse_features(self, text: str) -> Features:
        """Its answer. Raises InitiatorError if there is none."""
        return parse_features(text)

    def disk_errors(self, log: KernelLog, paths: Sequence[PathCounters]) -> Iterator[DiskError]:
        """What an initiator's kernel log says of the disks that the paths were."""
        return disk_errors(log, paths)


def _made(
    kind: type[_Kind], config: Config, machine: Machine, topology: Topology, wwids: tuple[str, ...]
) -> _Kind:
    return kind(
        machine,
        topology,
        config.profile,
        wwids,
        config.target.chap,
        config.initiator.path_grouping_policy,
        negotiation=Negotiation.of(config.target.iet, config.initiator.iscsi),
    )
