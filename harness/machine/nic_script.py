"""Shell that brings up a machine's data NICs with their addresses. Source: ip-address(8)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_interface

from harness.topology import Nic


def render_script(nics: Sequence[Nic], *, addressed: bool) -> str:
    """Shell that brings up every NIC it finds and prints `NAME NIC` for each.

    NICs of the same subnet answer ARP only for their own address, and take packets whatever the
    routes say: Documentation/networking/ip-sysctl.rst, `arp_ignore`, `arp_announce`, `rp_filter`.
    """
    subnets = [
        n
        for nic in nics
        if not nic.bridge
        for n in {ip_interface(a).network for a in nic.addresses}
    ]
    lines = []
    for nic in nics:
        crowded = any(subnets.count(ip_interface(a).network) > 1 for a in nic.addresses)
        device = nic.device("$nic")
        mtu = f" mtu {nic.mtu}" if nic.mtu else ""
        orders = [
            *(_addresses(device, nic) if addressed and not (nic.bridge or nic.vlan) else []),
            *(_crowded(device) if crowded and not (nic.bridge or nic.vlan) else []),
            # Else QEMU drops multicast frames that the guest did not ask for, and neither end can
            # tell them from frames that the cable lost.
            f"ip link set $nic up{mtu} allmulticast on",
            *(_tagged(device, nic, mtu, addressed=addressed, crowded=crowded) if nic.vlan else []),
            *(_behind(device, nic, mtu) if addressed and nic.bridge else []),
            *(_routing(nic.bridge or device, nic) if addressed else []),
            f"echo {nic.name} $nic",
        ]
        lines.append(
            f"for nic in /sys/class/net/*; do\n"
            f'  [ "$(cat "$nic/address")" = {nic.mac} ] || continue\n'
            f"  [ -e $nic/device ] || continue\n"
            f"  nic=$(basename $nic)\n" + "".join(f"  {order}\n" for order in orders) + "done"
        )
    return "\n".join(lines)


def _crowded(device: str) -> list[str]:
    """With slashes: the name of a VLAN's device has a dot (sysctl(8))."""
    conf = f"net/ipv4/conf/{device}"
    return [
        f"sysctl -qw {conf}/arp_ignore=1",
        f"sysctl -qw {conf}/arp_announce=2",
        f"sysctl -qw {conf}/rp_filter=2",
    ]


def _tagged(device: str, nic: Nic, mtu: str, *, addressed: bool, crowded: bool) -> list[str]:
    """A device for the VLAN on the NIC, which must be up with its MTU before."""
    made = f"ip link add link $nic name {device} type vlan id {nic.vlan}"
    return [
        f"[ -e /sys/class/net/{device} ] || {made}",
        *(_addresses(device, nic) if addressed and not nic.bridge else []),
        *(_crowded(device) if crowded and not nic.bridge else []),
        f"ip link set {device} up{mtu}",
    ]


def _behind(device: str, nic: Nic, mtu: str) -> list[str]:
    """The NIC is a port of a bridge, which has the addresses. Its own may be the bridge's, too."""
    return [
        f"[ -e /sys/class/net/{nic.bridge} ] || ip link add {nic.bridge} type bridge stp_state 0",
        f"ip link set {device} master {nic.bridge}",
        *_addresses(nic.bridge, nic),
        f"ip link set {nic.bridge} up{mtu}",
    ]


def _routing(device: str, nic: Nic) -> list[str]:
    """A router's own addresses belong to none of its networks, so they are on the loopback."""
    return [
        *(f"ip address replace {address} dev lo" for address in nic.routed),
        *(f"ip route replace {route} dev {device}" for route in nic.routes),
    ]


def _addresses(device: str, nic: Nic) -> list[str]:
    """IPv6 addresses are used at once on a cable, where no other machine can have them.

    On a network that others use the kernel asks first: duplicate address detection, RFC 4862.
    """
    at_once = " nodad" if not nic.shared else ""
    return [
        f"ip address replace {address} dev {device}"
        + (at_once if ip_interface(address).version == 6 else "")
        for address in nic.addresses
    ]
