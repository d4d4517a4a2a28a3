"""Which transport a configuration asks for. There is one: iSCSI with dm-multipath."""

from __future__ import annotations

from typing import TypeVar

from harness.config import Config
from harness.config.negotiation import Negotiation
from harness.machine import Machine
from harness.topology import Topology
from harness.transport import base, existing
from harness.transport.initiator import IscsiInitiator

_Kind = TypeVar("_Kind", bound=IscsiInitiator)


def initiator_for(
    config: Config, machine: Machine, topology: Topology, wwids: tuple[str, ...]
) -> base.Initiator:
    """The initiator on a machine of the testbed, for the LUNs of these WWIDs."""
    return _made(IscsiInitiator, config, machine, topology, wwids)


def existing_initiator_for(
    config: Config, machine: Machine, topology: Topology, wwids: tuple[str, ...]
) -> base.ExistingInitiator:
    """The initiator on a machine that was there before the run, and serves others, too."""
    return _made(existing.ExistingInitiator, config, machine, topology, wwids)


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
