"""The iSCSI target software, one file per kind. Imports `machine` and the data layers."""

from harness.target.base import Target
from harness.target.iet import IetTarget
from harness.target.lio import LioTarget

__all__ = ["IetTarget", "LioTarget", "Target", "target_for"]


from harness.config.model import TargetConfig
from harness.machine import Machine
from harness.topology import Topology


def target_for(config: TargetConfig, machine: Machine, topology: Topology) -> Target:
    """The driver for the configured kind."""
    if config.kind == "iet":
        return IetTarget(machine, topology, config.backstore, config.iet)
    return LioTarget(machine, topology, config.backstore)
