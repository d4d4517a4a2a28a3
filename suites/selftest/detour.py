"""A path that is led through the NIC of another one, by a route on the initiator."""

from __future__ import annotations

import pytest

from harness.testbed import Testbed
from harness.topology import Link, Path, Role
from harness.transport.iscsi import iscsiadm


def lead_astray(testbed: Testbed) -> tuple[Path, Link]:
    """Log the last path out and in again by the NIC of the first link; which path, and which link.

    Needs two IPv4 networks with one NIC of the initiator in each: sessions of several are bound to
    their NICs, and an IPv6 address is answered for on its own network alone.
    """
    topology = testbed.topology
    first, last = topology.networks[0], topology.networks[-1]
    if first is last or any(len(n.links) > 1 or n.subnet.version != 4 for n in (first, last)):
        pytest.skip("needs two IPv4 networks with one NIC in each")
    testbed.broken = "two paths run through one link on purpose"
    (link,), path = first.links, topology.paths[-1]
    iqn, portal = topology.iqns_at(path.portal)[0], path.portal.portal
    machine, nic = testbed.machine(Role.INITIATOR), testbed.nic(Role.INITIATOR, link.name)
    log_out(testbed, path)
    machine.sh(f"ip route add {portal.address}/32 dev {nic} src {link.address}")
    machine.run(iscsiadm.login_argv(iqn, portal))
    return path, link


def log_out(testbed: Testbed, path: Path) -> None:
    """End the session of one path with the first target."""
    argv = iscsiadm.record_argv(testbed.topology.iqns_at(path.portal)[0], path.portal.portal)
    if path.link.bound:  # else the other NICs' sessions would end, too
        argv += ["--interface", path.link.iface]
    testbed.machine(Role.INITIATOR).run([*argv, "--logout"])
