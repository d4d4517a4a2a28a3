"""A machine's data NICs: found by MAC address, given their addresses."""

from __future__ import annotations

from collections.abc import Sequence

from harness.deadline import Deadline, poll
from harness.errors import MachineError, TimedOut
from harness.machine import Machine
from harness.machine.nic_script import render_script
from harness.steps import Spent, step
from harness.topology import Nic, Topology, called

_PATIENCE_S = 15.0


def configure_nics(machine: Machine, name: str, topology: Topology) -> dict[str, str]:
    """Bring up a machine's data NICs with their addresses; returns the machine's name of each.

    A machine answers before all of its NICs are there, or have their names. Raises MachineError
    if one is missing for long.
    """
    with step(f"Configure the data NICs of {called(name)}", Spent.CONFIGURATION):
        return _run(machine, topology.nics(name), addressed=True)


def bring_up_shared(machine: Machine, name: str, topology: Topology) -> dict[str, str]:
    """Bring up a machine's NICs on shared networks without addresses; returns as `configure_nics`.

    Raises MachineError as that does.
    """
    nics = [nic for network in topology.shared for nic in network.nics(name)]
    return _run(machine, nics, addressed=False)


def _run(machine: Machine, nics: Sequence[Nic], *, addressed: bool) -> dict[str, str]:
    missing: list[str] = []
    failure = ""

    def brought_up() -> dict[str, str] | None:
        nonlocal missing, failure
        done = machine.sh(render_script(nics, addressed=addressed), check=False)
        found = dict(line.split() for line in done.stdout.splitlines())
        missing = [nic.name for nic in nics if nic.name not in found]
        failure = done.stderr.strip()
        return None if missing or done.status != 0 else found

    try:
        return poll(brought_up, what="NICs", deadline=Deadline.after(_PATIENCE_S), every_s=0.5)
    except TimedOut:
        reason = f"no NIC for {', '.join(missing)}" if missing else failure
        raise MachineError(f"{machine.name}: {reason}") from None
