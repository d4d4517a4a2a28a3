"""Whether each data NIC of a machine has the addresses and the MTU that were planned; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any

from harness.errors import MachineError, Problem
from harness.topology import Address, Nic, Topology, called

DEVICES_SCRIPT = "ip -json address show\n"  # ip-address(8), iproute2 4.14 or later


@dataclass(frozen=True)
class Device:
    """A network device. `unusable` are those of its addresses that the kernel does not use.

    These are being asked for on the network, or another machine has them: `tentative` and
    `dadfailed` of ip-address(8).
    """

    name: str
    mac: str
    mtu: int
    has_carrier: bool
    addresses: tuple[Address, ...]
    unusable: tuple[Address, ...] = ()


def parse_devices(text: str) -> tuple[Device, ...]:
    """Every device from `ip -json address show`. Raises MachineError for another answer.

    Real output, abridged: `[{"ifname": "ens16", "flags": ["BROADCAST", "UP", "LOWER_UP"],
    "mtu": 1500, "address": "52:54:00:d9:08:59", "addr_info": [{"family": "inet", "local":
    "172.16.0.101", "prefixlen": 24}]}]`
    """
    try:
        return tuple(_device(entry) for entry in json.loads(text) if entry)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # JSON of another shape
        raise MachineError(f"not a list of network devices ({error!r}): {text[:200]!r}") from None


def _device(entry: Mapping[str, Any]) -> Device:
    flags, infos = entry["flags"], [one for one in entry["addr_info"] if "local" in one]
    return Device(
        entry["ifname"],
        entry.get("address", ""),
        entry["mtu"],
        "UP" in flags and "NO-CARRIER" not in flags,
        tuple(ip_address(one["local"]) for one in infos),
        tuple(
            ip_address(one["local"])
            for one in infos
            if one.get("tentative") or one.get("dadfailed")
        ),
    )


def device_of(nic: Nic, name: str) -> str:
    """The device that has the addresses of a NIC, whose name in the machine is `name`."""
    return nic.bridge or nic.device(name)


def nic_problems(
    machine: str, topology: Topology, names: Mapping[str, str], devices: Sequence[Device]
) -> Iterator[Problem]:
    """What of a machine's NICs is not as planned; `names` are the machine's own, by the NIC's."""
    nics, who = topology.nics(machine), called(machine)
    places = {device_of(nic, names[nic.name]): nic.name for nic in nics}
    named = {device: f"{device}, its NIC {nic}" for device, nic in places.items()}
    known = {device.name: device for device in devices}
    told: set[Address] = set()
    for nic in nics:
        device = known.get(device_of(nic, names[nic.name]))
        if device is None:
            yield Problem(
                f"{who} has no device {device_of(nic, names[nic.name])}, its NIC {nic.name}",
                "`ip link` there shows those that it has",
            )
            continue
        for planned in nic.addresses:
            address = ip_interface(planned).ip
            problem = _misplaced(address, device, devices, named, who)
            if problem is not None and address not in told:
                told.add(address)
                yield problem
        for planned in nic.routed:
            address = ip_interface(planned).ip
            if not any(address in one.addresses for one in devices) and address not in told:
                told.add(address)
                yield Problem(
                    f"{who} has no address {address}, a portal behind a router",
                    f"`ip address add {planned} dev lo` there",
                )
        if (physical := known.get(names[nic.name])) is not None:
            yield from _of_the_wire(who, nic, physical, device)


def _misplaced(
    address: Address,
    device: Device,
    devices: Sequence[Device],
    named: Mapping[str, str],
    who: str,
) -> Problem | None:
    """What is wrong with an address that belongs on a device; `named` are devices for people."""
    wanted = named[device.name]
    if address in device.unusable:
        return Problem(
            f"{who} cannot use its address {address} on {wanted}: another machine on that "
            "network has it, or the kernel still asks",
            "give each machine an address of its own; `ip address` shows `dadfailed`",
        )
    if address in device.addresses:
        return None
    if there := [named.get(d.name, d.name) for d in devices if address in d.addresses]:
        return Problem(
            f"{who}'s address {address} is on {', '.join(there)}, and not on {wanted}: cables "
            "or addresses are exchanged",
            "give the address to the NIC on its own network, or correct [[networks]]",
        )
    return Problem(
        f"{who} has no address {address}, which belongs on {wanted}",
        f"`ip address add` it to {device.name}, or correct [[networks]]",
    )


def _of_the_wire(who: str, nic: Nic, physical: Device, device: Device) -> Iterator[Problem]:
    if not physical.has_carrier:
        yield Problem(
            f"{physical.name} of {who}, its NIC {nic.name}, has no carrier",
            "is the cable plugged in at both ends, and the switch port on?",
        )
    for one in dict.fromkeys((physical, device)):
        if nic.mtu is not None and one.mtu != nic.mtu:
            yield Problem(
                f"the MTU of {one.name} of {who} is {one.mtu}, not {nic.mtu}",
                f"`ip link set {one.name} mtu {nic.mtu}`, or correct networks.N.mtu",
            )
