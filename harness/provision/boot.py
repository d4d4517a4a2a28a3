"""A testbed from nothing: boot, configure, log in, assemble, write."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from harness.hypervisor.domain import start
from harness.machine import Machine
from harness.observe import observing
from harness.preflight import Asked, claim, require_fit
from harness.provision.address_claims import held_addresses
from harness.provision.data_nics import bring_up_shared, configure_fabrics
from harness.provision.first_io import fill
from harness.provision.site import Disks, Site, by_role
from harness.provision.snapshot import disk_file
from harness.provision.stage import Stage
from harness.steps import Spent, step
from harness.target.base import DATA_DISK_SERIAL
from harness.testbed.guest_disks import SYSTEM_DISK_SERIAL
from harness.testbed.testbed import Guest, Testbed
from harness.topology import Role


def boot(site: Site, power: ExitStack, links: ExitStack, disks: Path) -> Testbed:
    """A testbed booted cold, its disks in the folder `disks`, verified by I/O on every path.

    `links` ends our connections to the machines, `power` the machines; in that order.
    """
    with step(Stage.START, Spent.PROVISIONING):
        domains = site.power_on(
            power, _make_disks(site, disks), lambda spec, _: start(site.connection, spec)
        )

    def log_in(role: Role) -> Machine:
        with step(f"Boot the {role}", Spent.PROVISIONING):
            machine = site.log_in(role, domains[role])
        links.callback(machine.close)
        return machine

    with step(Stage.BOOT, Spent.PROVISIONING):
        machines = by_role(site.topology.guests, log_in)
    if site.topology.shared:
        nics = bring_up_shared(machines[Role.INITIATOR], Role.INITIATOR, site.topology)
        what = site.folder.name
        site.addresses = links.enter_context(
            held_addresses(machines[Role.INITIATOR], site.topology, nics, what)
        )
    target = site.target(machines)
    initiator = site.initiator(machines, target)
    configure = {Role.TARGET: target.configure, Role.INITIATOR: initiator.configure}

    def prepare(role: Role) -> Guest:
        nics = configure_fabrics(machines[role], role, site.topology)
        configure[role]()
        observer = links.enter_context(observing(machines[role]))
        return Guest(machines[role], observer, domains[role], nics)

    with step(Stage.CONFIGURE, Spent.CONFIGURATION):
        guests = by_role(site.topology.guests, prepare)
    initiator.log_in()
    target.require_logins()
    require_fit(initiator, serial=site.config.target.serial)
    initiator.wait_for_map()
    kernel = machines[Role.INITIATOR].run(["uname", "-r"]).stdout.strip()
    paths = initiator.paths()
    if not site.config.target.is_ours:
        claim(initiator, Asked.of(site.config))
    environment = site.describe(kernel, target)
    testbed = site.assembled(guests, target, initiator, paths, environment)
    testbed.prove_target()
    fill(testbed)
    testbed.prove_paths()
    return testbed


def _make_disks(site: Site, folder: Path) -> Disks:
    """A system disk for each machine, and the LUN for a target that is ours."""
    disks: dict[Role, list[Path]] = {}
    for role in site.topology.guests:
        system = disk_file(folder, role, SYSTEM_DISK_SERIAL)
        site.place.make_overlay(system, site.images[role])
        disks[role] = [system]
    if Role.TARGET in disks:
        lun = disk_file(folder, Role.TARGET, DATA_DISK_SERIAL)
        site.place.make_disk(lun, site.topology.lun.size)
        disks[Role.TARGET].append(lun)
    return disks
