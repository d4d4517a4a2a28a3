"""Settings that several NICs in one subnet need: ARP and reverse paths; pure.

As they ship, a machine answers ARP for an address of one NIC on another, asks with either address,
and drops what comes by another NIC than the route says: then both paths depend on one NIC, and
a pulled cable takes both or none. Source: Documentation/networking/ip-sysctl.rst, where of each
setting the larger value of `all` and the NIC counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.errors import MachineError, Problem
from harness.preflight.nics import Device
from harness.topology import Network, Topology, called

# Allowed values, the one to set, and what happens otherwise.
_ANSWERS = "it answers ARP for the address of its other NICs there, or not at all for its own"
_ASKS = "it may ask by ARP with the address of another NIC, and the answers then lead there"
_DROPS = "it drops what arrives there while the route leads over another NIC"
_WANTED: Mapping[str, tuple[frozenset[int], int, str]] = {
    "arp_ignore": (frozenset({1, 2}), 1, _ANSWERS),
    "arp_announce": (frozenset({2}), 2, _ASKS),
    "rp_filter": (frozenset({0, 2}), 2, _DROPS),
}
_OF_ALL = "all"
EVERY_DEVICE = "*"  # the shell has it for all of them
_CONF = "/proc/sys/net/ipv4/conf"


def crowded(topology: Topology) -> tuple[Network, ...]:
    """The networks with several NICs of the initiator; ARP is for IPv4."""
    return tuple(n for n in topology.networks if len(n.links) > 1 and n.subnet.version == 4)


def settings_script(devices: Sequence[str]) -> str:
    """Shell that prints what `parse_settings` reads, of these devices and `all`.

    By grep: `read` of a shell takes one byte at a time, and these files have no second one.
    """
    if not devices:
        return ""
    files = [f"{_CONF}/{place}/{name}" for place in (_OF_ALL, *devices) for name in _WANTED]
    return f"grep -H . {' '.join(files)} 2>/dev/null || :\n"


def parse_settings(text: str) -> dict[tuple[str, str], int]:
    """Values by device and setting. Raises MachineError.

    Real line: `/proc/sys/net/ipv4/conf/eth0/rp_filter:2`
    """
    found = {}
    for line in text.splitlines():
        file, _, value = line.rpartition(":")
        device, _, name = file.removeprefix(f"{_CONF}/").rpartition("/")
        if not (file.startswith(f"{_CONF}/") and device and value.isdecimal()):
            raise MachineError(f"not a setting of a network device: {line!r}")
        found[device, name] = int(value)
    return found


def subnet_problems(
    topology: Topology, devices: Mapping[str, str], settings: Mapping[tuple[str, str], int]
) -> Iterator[Problem]:
    """What is set otherwise on NICs that share a subnet; `devices` by link."""
    for network in crowded(topology):
        for link in network.links:
            device = devices[link.name]
            for name, (allowed, wanted, otherwise) in _WANTED.items():
                own, of_all = settings.get((device, name)), settings.get((_OF_ALL, name))
                if own is None or of_all is None:
                    yield Problem(
                        f"{name} of {device} is not known",
                        f"`sysctl net.ipv4.conf.{_OF_ALL}.{name}` must have a value there",
                    )
                elif max(own, of_all) not in allowed:
                    by = f", by net.ipv4.conf.{_OF_ALL}.{name}" if of_all > own else ""
                    place = _OF_ALL if of_all > own and of_all not in allowed else device
                    value = wanted if place == device else min(allowed)
                    yield Problem(
                        f"{name} of {device}, one of {len(network.links)} NICs of "
                        f"{called(link.machine)} on network {network.name}, is "
                        f"{max(own, of_all)}{by}: {otherwise}",
                        f"`sysctl -w net/ipv4/conf/{place}/{name}={value}`",
                    )


def stranger_problems(
    topology: Topology,
    devices: Mapping[str, str],
    found: Sequence[Device],
    settings: Mapping[tuple[str, str], int],
) -> Iterator[Problem]:
    """NICs that are not planned, and may take over what is sent to a link; `devices` by link.

    They have an address in the subnet of a network, and answer ARP for the link's address, too.
    """
    allowed, wanted, _ = _WANTED["arp_ignore"]
    networks = [one for one in topology.networks if one.subnet.version == 4]
    for device in found:
        if device.name in {*devices.values(), "lo"} or not device.has_carrier:
            continue
        own, of_all = (settings.get((one, "arp_ignore")) for one in (device.name, _OF_ALL))
        if own is None or of_all is None or max(own, of_all) in allowed:
            continue
        for network in networks:
            taken = ", ".join(f"{one.address} (link {one.name})" for one in network.links)
            for address in (one for one in device.addresses if one in network.subnet):
                yield Problem(
                    f"{device.name} of {called(network.links[0].machine)} has {address}, which is "
                    f"in the subnet of network {network.name}, and answers ARP for {taken}: what "
                    "is sent there may arrive at it",
                    f"take that address away, or `sysctl -w "
                    f"net/ipv4/conf/{device.name}/arp_ignore={wanted}`",
                )
