"""Whether an existing initiator's machine is fit for a run. Asks as a run does, changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from harness.cli.diagnosis import Diagnosis, Level
from harness.config import Config
from harness.errors import HarnessError
from harness.topology import Topology, plan

if TYPE_CHECKING:
    from harness.machine import Machine
    from harness.transport import ExistingInitiator

_MACHINE, _TOOLS, _NICS, _USE = ("initiator", "its tools", "its addresses", "its sessions")


def initiator(config: Config) -> Iterator[Diagnosis]:
    """The machine, its tools, services, addresses and sessions, as far as they can be asked."""
    from harness.provision.existing import machine_of, where
    from harness.target.external import UNNAMED
    from harness.transport import transport_for

    topology = plan(config)
    try:
        machine = machine_of(config)
    except HarnessError as error:
        yield Diagnosis(Level.PROBLEM, _MACHINE, error.message, error.hint)
        return
    with closing(machine):
        yield Diagnosis(Level.OK, _MACHINE, f"reached: {where(config)}")
        wwids = tuple(lun.wwid or UNNAMED for lun in config.every_lun)
        found = transport_for(config).existing_initiator(config, machine, topology, wwids)
        fio = config.initiator.fio
        tools = _told(_TOOLS, "root, and all are there", lambda: found.require_tools(fio))
        yield tools
        if tools.level is Level.OK:  # all else is asked by means of them
            services = f"its {found.services}"
            yield _told(services, "runs, and will heed a run", found.require_services)
            yield _nics(machine, topology)
            yield _use(found)


def _told(subject: str, well: str, require: Callable[[], None]) -> Diagnosis:
    try:
        require()
    except HarnessError as error:
        return Diagnosis(Level.PROBLEM, subject, error.message, error.hint)
    return Diagnosis(Level.OK, subject, well)


def _nics(machine: Machine, topology: Topology) -> Diagnosis:
    from harness.provision.existing import nics_of

    try:
        nics = nics_of(machine, topology)
    except HarnessError as error:
        return Diagnosis(Level.PROBLEM, _NICS, error.message, error.hint)
    there = ", ".join(f"{link.address} on {nics[link.name]}" for link in topology.links)
    return Diagnosis(Level.OK, _NICS, there)


def _use(found: ExistingInitiator) -> Diagnosis:
    """What a killed run left is no use by others: the next run undoes it before it looks."""
    try:
        traces = found.has_traces
    except HarnessError as error:
        return Diagnosis(Level.PROBLEM, _USE, error.message, error.hint)
    if traces:
        text = "a run has sessions there: it goes on, or it was killed"
        fix = "if it was killed: the next run undoes what it left"
        return Diagnosis(Level.WARNING, _USE, text, fix)
    return _told(_USE, "none with the target, no record of it, no map", found.require_unused)
