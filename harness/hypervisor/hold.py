"""Holding back what a guest sends, receives or stores, by QEMU's own means.

The guest cannot tell: its links stay up, and its disks report no error. At the end of each block
everything goes on, in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import HypervisorError
from harness.hypervisor.domain import Domain
from harness.hypervisor.domain_xml import nic_alias

# What QEMU's filter can count to, in microseconds: over an hour.
_HELD_AT_MOST_US = 2**32 - 1


@contextmanager
def holding_frames(domain: Domain, mac: str) -> Iterator[None]:
    """Hold every frame from and to the data NIC with `mac` (filter-buffer in qemu(1)).

    Raises HypervisorError, also if there is no such NIC.
    """
    aliases = {nic.mac: nic_alias(index) for index, nic in enumerate(domain.spec.nics)}
    if mac not in aliases:
        raise HypervisorError(f"{domain.name}: no data NIC {mac}; there are {', '.join(aliases)}")
    name = f"hold-{aliases[mac]}"
    held = {
        "qom-type": "filter-buffer",
        "id": name,
        "netdev": f"host{aliases[mac]}",  # libvirt names a NIC's other end so
        "interval": _HELD_AT_MOST_US,
    }
    _tell_qemu(domain, "object-add", held)
    try:
        yield
    finally:
        _tell_qemu(domain, "object-del", {"id": name})


@contextmanager
def holding_disk(domain: Domain, device: str) -> Iterator[None]:
    """Let a disk, such as `vda`, complete next to nothing (`iotune` in libvirt's domain format).

    Raises HypervisorError, also if there is no such disk.
    """
    _limit(domain, device, 1)
    try:
        yield
    finally:
        _limit(domain, device, 0)


def _limit(domain: Domain, device: str, bytes_per_s: int) -> None:
    """Zero is without a limit."""
    import libvirt

    limit = {libvirt.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC: bytes_per_s}
    with domain.asking(f"limit disk {device}"):
        domain.handle.setBlockIoTune(device, limit, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _tell_qemu(domain: Domain, command: str, arguments: dict[str, object]) -> None:
    """Run a command of QEMU's monitor, for what libvirt has no words."""
    import libvirt_qemu

    with domain.asking(f"run QEMU's {command}"):
        text = json.dumps({"execute": command, "arguments": arguments})
        answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain.handle, text, 0))
    if "error" in answer:
        raise HypervisorError(f"{domain.name}: QEMU refuses {command}: {answer['error']}")
