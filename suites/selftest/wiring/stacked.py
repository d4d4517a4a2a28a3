"""Devices that are made on two NICs of a machine, and the links that end there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.config import Config
from harness.machine import Machine
from harness.topology import plan

ADDRESSES = ("172.16.0.101/24", "172.16.1.101/24")
WWID = "360014057043dfe0435de773ca03bbf04"
# What is made on two NICs (arguments of `ip link add`), and the devices with the addresses.
ON_ONE_NIC = {
    "two VLANs": (
        ["link nic0 name nic0.5 type vlan id 5", "link nic0 name nic0.6 type vlan id 6"],
        ("nic0.5", "nic0.6"),
    ),
    "a NIC and a VLAN on it": (["link nic0 name nic0.5 type vlan id 5"], ("nic0", "nic0.5")),
    "a NIC and a macvlan on it": (["link nic0 name mv0 type macvlan"], ("nic0", "mv0")),
    "a bridge and its port": (["name br0 type bridge"], ("br0", "nic0")),
    "two VLANs of a bond": (
        [
            "name bond0 type bond",
            "link bond0 name bond0.5 type vlan id 5",
            "link bond0 name bond0.6 type vlan id 6",
        ],
        ("bond0.5", "bond0.6"),
    ),
}
APART = {
    "two NICs": ([], ("nic0", "nic1")),
    "a VLAN of each NIC": (
        ["link nic0 name nic0.5 type vlan id 5", "link nic1 name nic1.5 type vlan id 5"],
        ("nic0.5", "nic1.5"),
    ),
    "a bridge on the other NIC": (["name br0 type bridge"], ("br0", "nic1")),
}
MASTERS = {"br0": ("nic0",), "bond0": ("nic0", "nic1")}
PLANNED = plan(
    Config.model_validate(
        {"target": {"kind": "external", "wwid": WWID}, "initiator": {"machine": "local"}}
    )
)


class NoSuchDevice(Exception):
    """The kernel has no devices of that type."""


@contextmanager
def stacked(machine: Machine, made: Sequence[str], devices: Sequence[str]) -> Iterator[None]:
    """Make devices on nic0 and nic1, with the address of each link on one of `devices`."""
    added = []
    try:
        for arguments in made:
            done = machine.sh(f"ip link add {arguments}", check=False)
            if "Unknown device type" in done.stderr:
                raise NoSuchDevice(arguments)
            assert done.status == 0, done.stderr
            words = arguments.split()
            added.append(words[words.index("name") + 1])
        for master, ports in MASTERS.items():
            if master in added:
                for port in ports:
                    machine.sh(f"ip link set {port} down; ip link set {port} master {master}")
        for address, device in zip(ADDRESSES, devices, strict=True):
            machine.sh(f"ip address add {address} dev {device}")
        yield
    finally:
        for name in reversed(added):
            machine.sh(f"ip link delete {name}")
        for address, device in zip(ADDRESSES, devices, strict=True):
            machine.sh(f"ip address del {address} dev {device} 2>/dev/null || :")
