"""The networks of a libvirt, and whether machines can be attached to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from harness.config.networks import NetworkConfig
from harness.errors import ConfigError, HypervisorError
from harness.hypervisor.connection import Connection


def network_problem(connection: Connection, name: str) -> HypervisorError | None:
    """What keeps machines from the network of that name, with the cure; None if nothing does."""
    import libvirt

    try:
        network = connection.libvirt.networkLookupByName(name)
        if network.isActive():
            return None
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
            known = sorted(str(one.name()) for one in connection.libvirt.listAllNetworks())
            return HypervisorError(
                f"there is no network {name} at {connection.uri}; it has: "
                f"{', '.join(known) or 'none'}",
                hint=f"`virsh -c {connection.uri} net-define FILE.xml` makes one, net-start begins",
            )
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return HypervisorError(
                f"network {name}: the libvirt of hypervisor.uri has no networks",
                hint="use hypervisor.uri = 'qemu:///system', or a bridge",
            )
        return HypervisorError(f"network {name}: {error}")
    start = f"virsh -c {connection.uri} net-start {name}"
    return HypervisorError(
        f"network {name} is not active",
        hint=f"`{start}`; `net-autostart {name}` for after the next boot",
    )


def bridges_of(connection: Connection, networks: Iterable[NetworkConfig]) -> dict[str, str]:
    """The bridge of each libvirt network that these name, by its name.

    Left out is one that is not there, or has no bridge: it leads to the NICs of the host
    (https://libvirt.org/formatnetwork.html, forward modes private, vepa, passthrough, hostdev).
    """
    import libvirt

    found = {}
    named = (network.libvirt_network for network in networks)
    for name in dict.fromkeys(filter(None, named)):
        with suppress(libvirt.libvirtError):
            found[name] = str(connection.libvirt.networkLookupByName(name).bridgeName())
    return found


def require_apart(networks: Iterable[NetworkConfig], bridges: Mapping[str, str]) -> None:
    """Raise ConfigError if two networks are on one bridge that they name in different ways.

    The configuration itself cannot tell: only libvirt knows which bridge a network is.
    """
    first: dict[str, NetworkConfig] = {}
    for network in networks:
        bridge = network.bridge or bridges.get(network.libvirt_network or "")
        if bridge is None:
            continue
        other = first.setdefault(bridge, network)
        if other is not network:
            raise ConfigError(
                f"networks: {other.name} ({other.segment}) and {network.name} "
                f"({network.segment}) are both on bridge {bridge}; one fault would take the paths "
                "of both",
                hint="give each a libvirt network or a bridge of its own",
            )
