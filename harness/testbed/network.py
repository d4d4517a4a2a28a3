"""A machine's data NICs: found by MAC address, given their addresses. Source: ip-address(8)."""

from __future__ import annotations

from harness.errors import MachineError
from harness.machine import Machine
from harness.steps import Spent, step
from harness.topology import Role, Topology


def configure_fabrics(machine: Machine, role: Role, topology: Topology) -> dict[str, str]:
    """Bring up a role's NICs with their addresses; returns fabric -> NIC name.

    Raises MachineError if a NIC is missing.
    """
    with step(f"Configure the {role}'s data NICs", Spent.CONFIGURATION):
        answer = machine.sh(render_script(role, topology)).stdout
    nics = dict(line.split() for line in answer.splitlines())
    if missing := [f.name for f in topology.fabrics if f.name not in nics]:
        raise MachineError(f"{machine.name}: no NIC for fabric {', '.join(missing)}")
    return nics


def render_script(role: Role, topology: Topology) -> str:
    """Shell that configures every NIC it finds and prints `FABRIC NIC` for each."""
    lines = []
    for fabric in topology.fabrics:
        address = f"{fabric.address(role)}/{fabric.subnet.prefixlen}"
        lines.append(
            f"for nic in /sys/class/net/*; do\n"
            f'  [ "$(cat "$nic/address")" = {fabric.mac(role)} ] || continue\n'
            f"  nic=$(basename $nic)\n"
            f"  ip address replace {address} dev $nic\n"
            # Else QEMU drops multicast frames that the guest did not ask for, and neither end can
            # tell them from frames that the cable lost.
            f"  ip link set $nic up allmulticast on\n"
            f"  echo {fabric.name} $nic\n"
            f"done"
        )
    return "\n".join(lines)
