"""The networks of a libvirt, and whether machines can be attached to them."""

from __future__ import annotations

from harness.errors import HypervisorError
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
