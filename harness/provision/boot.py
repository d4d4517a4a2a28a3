"""Machines from nothing: `wire` has them run, with their disks and cables; `boot` reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.hypervisor.domain import start
from harness.machine import Machine
from harness.provision.resources import Disks, Resources, by_machine
from harness.provision.snapshot import disk_file
from harness.provision.step_titles import StepTitle
from harness.steps import Spent, step
from harness.target.base import data_disks
from harness.testbed.guest_disks import SYSTEM_DISK_SERIAL
from harness.topology import Role, called

if TYPE_CHECKING:
    from harness.hypervisor.domain import Domain


@dataclass(frozen=True)
class Wired:
    """Machines that run, each with its disks and its ends of the cables."""

    domains: Mapping[str, Domain]


@dataclass(frozen=True)
class Booted:
    """Machines that answer SSH."""

    domains: Mapping[str, Domain]
    machines: Mapping[str, Machine]


def wire(resources: Resources, disks: Path, power: ExitStack) -> Wired:
    """Start machines with new disks in the folder `disks`. They end with `power`."""
    with step(StepTitle.START, Spent.PROVISIONING):
        made = _make_disks(resources, disks)
        return Wired(
            resources.power_on(power, made, lambda spec, _: start(resources.connection, spec))
        )


def boot(resources: Resources, wired: Wired, links: ExitStack) -> Booted:
    """Wait until each machine answers; the connections end with `links`."""

    def log_in(name: str) -> Machine:
        with step(f"Boot {called(name)}", Spent.PROVISIONING):
            machine = resources.log_in(name, wired.domains[name])
        links.callback(machine.close)
        return machine

    with step(StepTitle.BOOT, Spent.PROVISIONING):
        return Booted(wired.domains, by_machine(resources.topology.guests, log_in))


def _make_disks(resources: Resources, folder: Path) -> Disks:
    """A system disk for each VM, and the LUNs for a target that is one of them."""
    disks: dict[str, list[Path]] = {}
    for name in resources.topology.guests:
        system = disk_file(folder, name, SYSTEM_DISK_SERIAL)
        resources.qemu_host.make_overlay(system, resources.image_of(name))
        disks[name] = [system]
    if Role.TARGET in disks:
        for lun in data_disks(resources.config.target, resources.topology):
            disk = disk_file(folder, Role.TARGET, lun.name)
            resources.qemu_host.make_disk(disk, lun.size)
            disks[Role.TARGET].append(disk)
    return disks
