"""A machine's data NICs: found by MAC address, given their addresses. Source: ip-address(8)."""

from __future__ import annotations

from collections.abc import Sequence

from harness.deadline import Deadline, poll
from harness.errors import MachineError, TimedOut
from harness.machine import Machine
from harness.steps import Spent, step
from harness.topology import Fabric, Role, Topology

_PATIENCE_S = 15.0


def configure_fabrics(machine: Machine, role: Role, topology: Topology) -> dict[str, str]:
    """Bring up a role's NICs with their addresses; returns fabric -> NIC name.

    A machine answers before all of its NICs are there, or have their names. Raises MachineError
    if one is missing for long.
    """
    with step(f"Configure the {role}'s data NICs", Spent.CONFIGURATION):
        return _run(machine, role, topology.fabrics, addressed=True)


def bring_up_shared(machine: Machine, role: Role, topology: Topology) -> dict[str, str]:
    """Bring up a role's NICs on shared fabrics without addresses; returns as `configure_fabrics`.

    Raises MachineError as that does.
    """
    return _run(machine, role, topology.shared, addressed=False)


def _run(
    machine: Machine, role: Role, fabrics: Sequence[Fabric], *, addressed: bool
) -> dict[str, str]:
    missing: list[str] = []
    failure = ""

    def brought_up() -> dict[str, str] | None:
        nonlocal missing, failure
        done = machine.sh(render_script(role, fabrics, addressed=addressed), check=False)
        nics = dict(line.split() for line in done.stdout.splitlines())
        missing = [f.name for f in fabrics if f.name not in nics]
        failure = done.stderr.strip()
        return None if missing or done.status != 0 else nics

    try:
        return poll(brought_up, what="NICs", deadline=Deadline.after(_PATIENCE_S), every_s=0.5)
    except TimedOut:
        reason = f"no NIC for fabric {', '.join(missing)}" if missing else failure
        raise MachineError(f"{machine.name}: {reason}") from None


def render_script(role: Role, fabrics: Sequence[Fabric], *, addressed: bool) -> str:
    """Shell that brings up every NIC it finds and prints `FABRIC NIC` for each."""
    lines = []
    for fabric in fabrics:
        address = f"{fabric.address(role)}/{fabric.subnet.prefixlen}"
        lines.append(
            f"for nic in /sys/class/net/*; do\n"
            f'  [ "$(cat "$nic/address")" = {fabric.mac(role)} ] || continue\n'
            f"  nic=$(basename $nic)\n"
            + (f"  ip address replace {address} dev $nic\n" if addressed else "")
            # Else QEMU drops multicast frames that the guest did not ask for, and neither end can
            # tell them from frames that the cable lost.
            + f"  ip link set $nic up allmulticast on\n"
            f"  echo {fabric.name} $nic\n"
            f"done"
        )
    return "\n".join(lines)
