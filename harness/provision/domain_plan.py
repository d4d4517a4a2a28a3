"""The domains of a testbed as data: which disks, which cables, which ports. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.config import Config
from harness.guest_images.store import BuiltImage
from harness.hypervisor.domain_xml import Bridge, Cache, Disk, DomainSpec, Network, Nic, TcpCable
from harness.testbed.guest_disks import serials
from harness.topology import Network as PlannedNetwork
from harness.topology import Role, Topology, management_mac

_UUIDS = uuid.UUID("7f0c0a1e-5f0c-4b63-9a55-6a8f2c9b6d11")  # makes UUIDs of names (RFC 4122, 4.3)
# What saves time under emulation and has no effect on storage: workarounds for flaws that an
# emulated processor has not, and a check of timers that is slow there.
_EMULATED = "mitigations=off no_timer_check"
# Debian's kernels refuse the keyboard a list of blocked tasks, and that is the hypervisor's way in.
_SYSRQ = "sysrq_always_enabled"


@dataclass(frozen=True)
class Wiring:
    """Ports of this host: for SSH by machine, and for each cable by its link."""

    ssh: Mapping[str, int]
    cables: Mapping[str, int]


def domain_name(testbed: str, machine: str, *, alone: bool) -> str:
    """A machine's domain; the same in every testbed if each is `alone` with its libvirt.

    Forks must have the name and the UUID of the machine that was saved.
    """
    return f"pathproof-{machine}" if alone else f"{testbed}-{machine}"


def ports_needed(topology: Topology) -> int:
    """How many ports `assign_ports` takes: one for each machine, and one for each of the cables."""
    return len(topology.guests) + len(topology.cables)


def assign_ports(topology: Topology, ports: Sequence[int]) -> Wiring:
    """Give each purpose one of `ports`."""
    free = iter(ports)
    return Wiring(
        ssh={machine: next(free) for machine in topology.guests},
        cables={link.name: next(free) for link in topology.cables},
    )


def domain_spec(
    config: Config,
    topology: Topology,
    machine: str,
    *,
    name: str,
    accel: Literal["kvm", "tcg"],
    image: BuiltImage,
    disks: Sequence[Path],
    wiring: Wiring,
    console_log: Path,
    direct_io: bool,
) -> DomainSpec:
    """One machine's domain. `disks` are qcow2 files, one for each of its `serials`.

    `direct_io`: whether O_DIRECT works where they are.
    """
    emulated = f" {_EMULATED}" if accel == "tcg" else ""
    cache = disk_cache(topology.role(machine), accel, direct_io=direct_io)
    return DomainSpec(
        name=name,
        uuid=str(uuid.uuid5(_UUIDS, name)),
        accel=accel,
        cpus=config.machines.cpus,
        memory_bytes=config.machines.memory,
        kernel=image.kernel,
        initrd=image.initrd,
        cmdline=f"{image.cmdline}{emulated} {_SYSRQ} pathproof.mgmt={management_mac(machine)}",
        disks=tuple(
            Disk(path, "qcow2", serial, cache)
            for path, serial in zip(disks, serials(machine, config.target, topology), strict=True)
        ),
        nics=tuple(
            Nic(nic.mac, _attachment(network, nic.links[0], machine, wiring), nic.mtu)
            for network in topology.networks
            for nic in network.nics(machine)
        ),
        ssh_port=wiring.ssh[machine],
        management_mac=management_mac(machine),
        console_log=console_log,
    )


def disk_cache(role: Role, accel: Literal["kvm", "tcg"], *, direct_io: bool) -> Cache:
    """What a machine's disks may leave in the host's memory.

    With KVM the target's LUN, on a disk of its own or in a file on the system's, is as quick as the
    host writes. The host's page cache would be quicker until the kernel writes it back; then it
    makes writers wait, and that looks like a stall of the storage. Emulated guests never come near
    to filling it, and the initiator's disk is judged by nothing.
    """
    if role is Role.INITIATOR or accel == "tcg":
        return "unsafe"
    return "none" if direct_io else "writeback"


def listens(spec: DomainSpec) -> bool:
    """Whether other machines connect their cables to this one, so that it is started first."""
    return any(isinstance(nic.attachment, TcpCable) and nic.attachment.listens for nic in spec.nics)


def _attachment(
    network: PlannedNetwork, link: str, machine: str, wiring: Wiring
) -> TcpCable | Network | Bridge:
    if network.libvirt_network:
        return Network(network.libvirt_network)
    if network.bridge:
        return Bridge(network.bridge)
    # A target that is started anew finds its cables again; an initiator is reset instead.
    return TcpCable(wiring.cables[link], listens=machine != Role.TARGET)
