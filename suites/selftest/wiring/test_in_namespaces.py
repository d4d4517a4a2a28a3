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
    machines: Mapping[str, Machine]
    names: Mapping[str, Mapping[str, str]]

    def machine(self, name: str) -> Machine:
        return self.machines[name]

    def nic(self, name: str, link: str) -> str:
        return self.names[name][self.topology.nic_at(name, link).name]

    def causes(self) -> list[str]:
        """What the preflight finds, once every initiator has sent something on each path."""
        found: list[str] = []
        for name in self.topology.initiators:
            own = self.topology.of(name)
            pairs = [
                f"{own.network(path.link.network).device(self.nic(name, path.link.name))},"
                f"{path.portal.portal.address}"
                for path in own.paths
            ]
            self.machine(name).run(["ip", "neighbour", "flush", "all"])
            self.machine(name).run(["python3", "-c", _TALK, *dict.fromkeys(pairs)])
            ends = [End(m, self.machines[m], self.names[m]) for m in (Role.TARGET.value, name)]
            found += [problem.cause for problem in wiring_problems(own, ends)]
        return found


@contextmanager
def wired(name: str) -> Iterator[Wires]:
    """The machines of a ready topology, with its cables between them."""
    if why := needs.no_namespaces():
        pytest.skip(why)
    topology = plan(load(None, {"topology": (name, "--topology")}).config)
    with ExitStack() as stack:
        every = (Role.TARGET.value, *topology.initiators)
        hosts = {name: stack.enter_context(namespace(name)) for name in every}
        target = hosts[Role.TARGET]
        for number, link in enumerate(topology.links):
            hosts[link.machine].sh(
                f"ip link add eth{number} address {link.initiator_mac} type veth "
                f"peer name eth{number} address {link.target_mac} netns {target.pid}"
            )
        names: dict[str, dict[str, str]] = {}
        for machine, host in hosts.items():
            nics = topology.nics(machine)
            host.sh(
                "ip link set lo up; for n in /sys/class/net/eth*; do ip link set ${n##*/} up; done"
            )
            if any(nic.vlan for nic in nics):
                _require_vlans(host)
            said = host.sh(render_script(nics, addressed=True).replace(*_ANY_NIC)).stdout
            names[machine] = dict(line.split() for line in said.splitlines())
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
