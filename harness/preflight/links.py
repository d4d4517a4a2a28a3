"""Whether each link of an existing machine ends at a NIC of its own; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.errors import Problem
from harness.topology import Link, Topology

# A device that is made on others has a `lower_` link to each of them: a VLAN, a macvlan, a bond, a
# team, a bridge. Source: __netdev_adjacent_dev_insert() in net/core/dev.c of the kernel.
# A virtual function of a NIC (SR-IOV) has none, but `physfn`: pci_iov_sysfs_link() in
# drivers/pci/iov.c. Where that one is several ports (mlx4), it is not known which is its own.
LOWER_SCRIPT = """\
for lower in /sys/class/net/*/lower_*; do
  if [ -L "$lower" ]; then echo "$lower"; fi
done
for ports in /sys/class/net/*/device/physfn/net; do
  set -- "$ports"/*
  if [ $# = 1 ] && [ -e "$1" ]; then echo "${ports%/device/physfn/net}/lower_${1##*/}"; fi
done
"""


def parse_lower(text: str) -> dict[str, tuple[str, ...]]:
    """The devices right below each device, from what LOWER_SCRIPT printed.

    Real output: `/sys/class/net/ens9.101/lower_ens9`.
    """
    below: dict[str, list[str]] = {}
    for line in text.splitlines():
        device, separator, lower = line.removeprefix("/sys/class/net/").partition("/lower_")
        if separator:
            below.setdefault(device, []).append(lower)
    return {device: tuple(lowers) for device, lowers in below.items()}


def nics_under(device: str, below: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The NICs that a device is made on, each once; a device that is made on none is a NIC."""
    lowers = below.get(device, ())
    found = [nic for lower in lowers for nic in nics_under(lower, below)]
    return tuple(dict.fromkeys(found)) if lowers else (device,)


def link_problems(
    topology: Topology, devices: Mapping[str, str], below: Mapping[str, Sequence[str]]
) -> list[Problem]:
    """A problem for each set of links that end at the same NIC.

    `devices`: by link, the device that has its address; `below` as of `parse_lower`.
    """
    by_nic: dict[str, list[Link]] = {}
    for link in topology.links:
        for nic in nics_under(devices[link.name], below):
            by_nic.setdefault(nic, []).append(link)
    shared: dict[tuple[Link, ...], list[str]] = {}
    for nic, links in by_nic.items():
        if len(links) > 1:
            shared.setdefault(tuple(links), []).append(nic)
    return [_shared(links, nics, devices) for links, nics in shared.items()]


def _shared(links: Sequence[Link], nics: Sequence[str], devices: Mapping[str, str]) -> Problem:
    """Paths over one cable are lost together, and would be called independent."""
    of_their_own = {devices[link.name] for link in links} == set(nics)
    if of_their_own:
        where = " and ".join(f"{link.address} (link {link.name})" for link in links)
        cause = f"{where} on one NIC, {nics[0]}: each link needs its own"
    else:
        where = " and ".join(
            f"{link.address} on {devices[link.name]} (link {link.name})" for link in links
        )
        title = f"NIC {nics[0]}" if len(nics) == 1 else f"NICs {' and '.join(nics)}"
        cause = f"{where}, all made on the same {title}: each link needs its own NIC"
    return Problem(
        cause,
        "give one of the addresses to another NIC (`ip -details link` shows what a device is made "
        "on); or, if there is only one NIC, have one address of it in networks.N.initiator, and "
        "several portals there",
    )
