"""The machines of a ready topology with its cables between them, in namespaces of this host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from harness.config import load
from harness.machine import Machine
from harness.machine.nic_script import render_script
from harness.preflight import End
from harness.preflight.wiring import wiring_problems
from harness.topology import Role, Topology, plan
from suites.selftest import needs
from suites.selftest.wiring.namespace import Namespace, namespace

# A cable of this kind has no device below it, as NICs of a guest have.
ANY_NIC = "[ -e $nic/device ] || continue", "[ ! -e $nic/bridge ] || continue"
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
            said = host.sh(render_script(nics, addressed=True).replace(*ANY_NIC)).stdout
            names[machine] = dict(line.split() for line in said.splitlines())
        yield Wires(topology, hosts, names)


def _require_vlans(host: Namespace) -> None:
    done = host.sh("ip link add link eth0 name tried type vlan id 1", check=False)
    if "Unknown device type" in done.stderr:
        pytest.skip(needs.VLANS)
    host.sh("ip link del tried")
