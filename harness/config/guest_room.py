"""How many disks and NICs a VM has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.config.model import Config

# The PCI slots of a guest, of which there are 32: see harness/hypervisor/domain_xml.py.
MOST_DISKS = 12
MOST_NICS = 12


def require_room(config: Config) -> None:
    """Raises ValueError, which begins with the key, for more than the VMs have room for.

    An initiator has a NIC for each of its addresses, and the target at most as many as all of them.
    A disk of each VM is its system's.
    """
    most = MOST_DISKS - 1
    if config.target.backstore == "block" and len(config.luns) > most:
        raise ValueError(
            f'luns: {len(config.luns)}, and with target.backstore "block" each is a disk of the '
            f"target, which has room for {most}"
        )
    nics = sum(len(network.initiator) for network in config.networks)
    if config.initiator.is_made and nics > MOST_NICS:
        raise ValueError(
            f"networks: the initiator has {nics} addresses, each with a NIC of its own; a VM has "
            f"room for {MOST_NICS}"
        )
    cables = nics + sum(len(a) for one in config.initiators for a in one.addresses.values())
    if config.initiators and cables > MOST_NICS:
        raise ValueError(
            f"initiators: all initiators together have {cables} addresses, each with a cable to a "
            f"NIC of the target, which has room for {MOST_NICS}"
        )
