"""Machines that are ready for sessions: with addresses, a target and initiators."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from harness.observe import observing
from harness.provision.address_claims import Held, held_addresses
from harness.provision.boot import Booted
from harness.provision.data_nics import bring_up_shared, configure_nics
from harness.provision.resources import Resources, by_machine
from harness.provision.step_titles import StepTitle
from harness.steps import Spent, step
from harness.target import Target
from harness.testbed.guest import Guest
from harness.topology import Role
from harness.transport import Initiator, transport_for


@dataclass(frozen=True)
class Configured:
    """Machines that are configured and watched; nothing is logged in yet.

    `addresses` are those that other hosts may want, None if there are none.
    """

    guests: Mapping[str, Guest]
    target: Target
    initiators: Mapping[str, Initiator]
    addresses: Held | None


def configure(resources: Resources, booted: Booted, links: ExitStack) -> Configured:
    """Give the machines their addresses, once no other machine has them; configure all ends.

    Observers and the claim to addresses end with `links`.
    """
    machines = booted.machines
    addresses = None
    if resources.topology.shared:
        nics = bring_up_shared(machines[Role.INITIATOR], Role.INITIATOR, resources.topology)
        addresses = links.enter_context(
            held_addresses(
                machines[Role.INITIATOR], resources.topology, nics, resources.folder.name
            )
        )
    target = resources.target(machines)
    initiators = resources.initiators(machines, target)

    maps = transport_for(resources.config).maps

    def prepare(name: str) -> Guest:
        nics = configure_nics(machines[name], name, resources.topology)
        if name == Role.TARGET:
            target.configure()
        else:
            initiators[name].configure()
        observer = links.enter_context(observing(machines[name], maps))
        return Guest(machines[name], observer, booted.domains[name], nics)

    with step(StepTitle.CONFIGURE, Spent.CONFIGURATION):
        guests = by_machine(resources.topology.guests, prepare)
    return Configured(guests, target, initiators, addresses)
