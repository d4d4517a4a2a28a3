"""A testbed copied from a golden snapshot: its sessions and its maps are alive when it starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness.concurrency import side_by_side
from harness.errors import HarnessError, HypervisorError, cure, defects, leaves, summary
from harness.hypervisor.disk import create_overlay
from harness.hypervisor.domain import restore
from harness.observe import leave_resident, observing
from harness.provision.resources import Disks, Resources, by_machine
from harness.provision.snapshot import Golden, disk_file, memory_file, seal
from harness.provision.step_titles import StepTitle
from harness.steps import Spent, step
from harness.testbed.guest import Guest
from harness.testbed.guest_disks import serials
from harness.testbed.proofs import mark_target
from harness.testbed.testbed import Testbed
from harness.topology import Role
from harness.transport import transport_for


class CannotSave(HypervisorError):
    """The hypervisor runs machines and does not save them."""


def make_golden(
    resources: Resources,
    folder: Path,
    determined_by: dict[str, Any],
    cold: Callable[[ExitStack, ExitStack, Path], Testbed],
) -> None:
    """Save a testbed into `folder`, all machines and their disks at one instant.

    `cold` makes it, with disks in a folder; its machines end with the first stack, the
    connections to them with the second.
    """
    names, maps = resources.topology.guests, transport_for(resources.config).maps
    with step(StepTitle.GOLDEN, Spent.PROVISIONING), ExitStack() as power:
        with ExitStack() as links:
            testbed = cold(power, links, folder)
            by_machine(names, lambda name: leave_resident(testbed.machine(name), maps))
        with step(StepTitle.SAVE, Spent.PROVISIONING):
            try:
                for name in names:
                    testbed.domain(name).pause()
                by_machine(names, lambda name: testbed.domain(name).save(memory_file(folder, name)))
            except HarnessError as error:
                if defects(error):
                    raise
                # All machines fail for one cause, and it is enough to tell it of one of them.
                one = next(leaves(error))
                raise CannotSave(summary(one), hint=cure(one)) from error
        nics = {name: testbed.nics(name) for name in names}
        paths = {one.name: one.paths for one in testbed.maps}
        seal(folder, determined_by, nics, paths, testbed.environment)


def fork(resources: Resources, golden: Golden, stack: ExitStack) -> Testbed:
    """A testbed as `golden` has it, with disks, ports, time and randomness of its own.

    Verified by I/O on every path. It ends with `stack`.
    """
    golden.require_untouched()
    with step(StepTitle.RESTORE, Spent.PROVISIONING):
        domains = resources.power_on(
            stack,
            _overlays(resources, golden),
            lambda spec, name: restore(
                resources.connection, spec, memory_file(golden.folder, name)
            ),
        )
        # The target first: an initiator may be waiting for its answer.
        for name in resources.topology.guests:
            domains[name].resume()

    marks: list[bytes] = []
    maps = transport_for(resources.config).maps

    def reach(name: str) -> Guest:
        machine = resources.log_in(name, domains[name])
        stack.callback(machine.close)
        observer = stack.enter_context(observing(machine, maps, resident=True))
        observer.wake()
        if name == Role.TARGET:  # at once, as it has less to do than an initiator
            marks.extend(mark_target(machine, resources.target({name: machine})))
        return Guest(machine, observer, domains[name], golden.nics[name])

    with step(StepTitle.WAKE, Spent.PROVISIONING):
        guests = by_machine(resources.topology.guests, reach)
    machines = {name: guest.machine for name, guest in guests.items()}
    target = resources.target(machines)
    environment = dict(golden.environment) | {"Testbeds": f"forked from {golden.folder.name}"}
    initiators = resources.initiators(machines, target)
    testbed = resources.assembled(guests, target, initiators, golden.paths, environment)
    side_by_side(
        # Without NICs and routes, which take a third of a second: the machines were examined before
        # they were saved, the cables are new, and each path carries I/O in a moment.
        lambda: testbed.preflight(wiring=False),
        testbed.prove_paths,
        lambda: testbed.prove_target(marks),
    )
    testbed.wait_for_all_but((), spent_on=Spent.PROVISIONING)
    return testbed


def _overlays(resources: Resources, golden: Golden) -> Disks:
    """Disks that read through to the snapshot's, in the order of the saved machines."""
    disks: dict[str, list[Path]] = {}
    for name in resources.topology.guests:
        disks[name] = []
        for serial in serials(name, resources.config.target, resources.topology):
            overlay = disk_file(resources.folder.path, name, serial)
            create_overlay(overlay, disk_file(golden.folder, name, serial), "qcow2")
            disks[name].append(overlay)
    return disks
