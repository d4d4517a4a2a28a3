"""Machines that are ready for sessions: with addresses, a target and an initiator."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from harness.initiator import Initiator
from harness.observe import observing
from harness.provision.address_claims import Held, held_addresses
from harness.provision.boot import Booted
from harness.provision.data_nics import bring_up_shared, configure_nics
from harness.provision.site import Site, by_role
from harness.provision.stage import Stage
from harness.steps import Spent, step
from harness.target import Target
from harness.testbed.testbed import Guest
from harness.topology import Role


@dataclass(frozen=True)
class Configured:
    """Machines that are configured and watched; nothing is logged in yet.

    `addresses` are those that other hosts may want, None if there are none.
    """

    guests: Mapping[Role, Guest]
    target: Target
    initiator: Initiator
    addresses: Held | None


def configure(site: Site, booted: Booted, links: ExitStack) -> Configured:
    """Give the machines their addresses, once nobody else has them, and configure both ends.

    Observers and the claim to addresses end with `links`.
    """
    machines = booted.machines
    addresses = None
    if site.topology.shared:
        nics = bring_up_shared(machines[Role.INITIATOR], Role.INITIATOR, site.topology)
        addresses = links.enter_context(
            held_addresses(machines[Role.INITIATOR], site.topology, nics, site.folder.name)
        )
    target = site.target(machines)
    initiator = site.initiator(machines, target)
    end = {Role.TARGET: target.configure, Role.INITIATOR: initiator.configure}

    def prepare(role: Role) -> Guest:
        nics = configure_nics(machines[role], role, site.topology)
        end[role]()
        observer = links.enter_context(observing(machines[role]))
        return Guest(machines[role], observer, booted.domains[role], nics)

    with step(Stage.CONFIGURE, Spent.CONFIGURATION):
        guests = by_role(site.topology.guests, prepare)
    return Configured(guests, target, initiator, addresses)
