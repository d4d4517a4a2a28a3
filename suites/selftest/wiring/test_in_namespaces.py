"""Networks of the ready topologies between two network namespaces of this host: a real kernel.

Both ends are configured by the harness's own scripts; there are no sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest

from harness.config import load
from harness.config.ready import topology_names
from harness.deadline import Deadline, poll
from harness.machine import Machine
from harness.preflight import End
from harness.preflight.wiring import wiring_problems
from harness.provision.data_nics import render_script
from harness.topology import Role, Topology, plan
from suites.selftest import needs
from suites.selftest.wiring.namespace import Namespace, namespace
from suites.selftest.wiring.plants import PLANTS, filled_in

# A cable of this kind has no device below it, as NICs of a guest have.
_ANY_NIC = "[ -e $nic/device ] || continue", ":"
_TALK = """
import socket, sys
for pair in sys.argv[1:]:
    device, address = pair.split(",")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        try:
            one.connect((address, 3260))
        except OSError:
            pass  # that it is refused is an answer
"""


@dataclass
class Wires:
    """What of a testbed there is without sessions."""

    topology: Topology
    machines: Mapping[Role, Machine]
    names: Mapping[Role, Mapping[str, str]]

    def machine(self, role: Role) -> Machine:
        return self.machines[role]

    def nic(self, role: Role, link: str) -> str:
        return self.names[role][self.topology.nic_at(role, link).name]

    def causes(self) -> list[str]:
        """What the preflight finds, once the initiator has sent something on each path."""
        pairs = []
        for path in self.topology.paths:
            nic = self.nic(Role.INITIATOR, path.link.name)
            device = self.topology.network(path.link.network).device(nic)
            pairs.append(f"{device},{path.portal.portal.address}")
        initiator = self.machine(Role.INITIATOR)
        initiator.run(["ip", "neighbour", "flush", "all"])
        initiator.run(["python3", "-c", _TALK, *dict.fromkeys(pairs)])
        ends = [End(role, self.machines[role], self.names[role]) for role in Role]
        return [problem.cause for problem in wiring_problems(self.topology, ends)]


@contextmanager
def wired(name: str) -> Iterator[Wires]:
    """Two machines with the cables of a ready topology between them."""
    if why := needs.no_namespaces():
        pytest.skip(why)
    topology = plan(load(None, {"topology": (name, "--topology")}).config)
    with ExitStack() as stack:
        hosts = {role: stack.enter_context(namespace(role.value)) for role in Role}
        initiator, target = hosts[Role.INITIATOR], hosts[Role.TARGET]
        for number, link in enumerate(topology.links):
            initiator.sh(
                f"ip link add eth{number} address {link.initiator_mac} type veth "
                f"peer name eth{number} address {link.target_mac} netns {target.pid}"
            )
        names: dict[Role, dict[str, str]] = {}
        for role, host in hosts.items():
            nics = topology.nics(role)
            host.sh(
                "ip link set lo up; for n in /sys/class/net/eth*; do ip link set ${n##*/} up; done"
            )
            if any(nic.vlan for nic in nics):
                _require_vlans(host)
            said = host.sh(render_script(nics, addressed=True).replace(*_ANY_NIC)).stdout
            names[role] = dict(line.split() for line in said.splitlines())
        yield Wires(topology, hosts, names)


def _require_vlans(host: Namespace) -> None:
    done = host.sh("ip link add link eth0 name tried type vlan id 1", check=False)
    if "Unknown device type" in done.stderr:
        pytest.skip(needs.VLANS)
    host.sh("ip link del tried")


def soon(condition: Callable[[], object]) -> None:
    poll(lambda: bool(condition()), what="it", deadline=Deadline.after(10), every_s=0.2)


@pytest.mark.parametrize("name", topology_names())
def test_a_topology_that_is_configured_as_planned_is_wired_as_planned(name: str) -> None:
    """By the harness itself. The neighbours of a bridge take a moment to learn of each other."""
    with wired(name) as wires:
        soon(lambda: not wires.causes())


BY_NETWORK = [
    (topology, name)
    for topology, plants in PLANTS.items()
    for name, plant in plants.items()
    if plant.by_network
]


@pytest.mark.parametrize(("topology", "plant"), BY_NETWORK)
def test_a_wrong_wiring_is_found_with_its_cause(topology: str, plant: str) -> None:
    """Once it is taken away, nothing is found."""
    found = PLANTS[topology][plant]
    with wired(topology) as wires:
        testbed = cast(Any, wires)  # as far as plants of networks use it
        text = filled_in(testbed, found.says)
        soon(lambda: not wires.causes())
        with found.planted(testbed):
            soon(lambda: any(text in cause for cause in wires.causes()))
        soon(lambda: not wires.causes())
