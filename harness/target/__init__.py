"""The iSCSI target software, one file per kind. Imports `machine` and the data layers."""

from collections.abc import Callable, Mapping

from harness.config.model import TargetConfig, TargetKind
from harness.errors import ConfigError
from harness.machine import Machine
from harness.target.base import Target
from harness.target.capabilities import Capabilities
from harness.target.external import ExternalTarget, NoMachine
from harness.target.iet import IetTarget
from harness.target.lio import LioTarget
from harness.target.tgt import TgtTarget
from harness.topology import Topology

__all__ = [
    "KINDS",
    "Capabilities",
    "ExternalTarget",
    "IetTarget",
    "LioTarget",
    "NoMachine",
    "Target",
    "TgtTarget",
    "target_for",
]

KINDS: Mapping[TargetKind, Callable[[TargetConfig, Machine, Topology], Target]] = {
    "external": ExternalTarget,
    "lio": LioTarget,
    "tgt": TgtTarget,
    "iet": IetTarget,
}


def target_for(config: TargetConfig, machine: Machine, topology: Topology) -> Target:
    """The driver for the configured kind."""
    if config.kind not in KINDS:
        raise ConfigError(f"target.kind: there is no {config.kind!r} yet")
    return KINDS[config.kind](config, machine, topology)
