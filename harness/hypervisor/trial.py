"""Try on a tiny machine what testbeds rely on: libvirt saves and restores it, its cable carries.

The machine has no system. It halts as soon as it runs, and its memory is a megabyte when saved.
One trial takes about a second under emulation.
"""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import HypervisorError
from harness.hypervisor.connection import Connection
from harness.hypervisor.domain import restore, start
from harness.hypervisor.domain_xml import DomainSpec, Nic, TcpCable
from harness.hypervisor.ports import lease_ports
from harness.steps import Spent, step
from harness.units import MIB

_MAC, _MANAGEMENT_MAC = "52:54:00:70:70:01", "52:54:00:70:70:02"
_FRAME_TIMEOUT_S = 3.0
_LOOPBACK = "127.0.0.1"
_HEADER = 14  # of an Ethernet frame: both addresses and the type

# QEMU takes a file without a header for a Linux kernel of before 1995 (the boot protocol in the
# kernel's Documentation/arch/x86/boot.rst): its set-up code begins at 0x200, in real mode.
_HALT = bytes.fromhex("fa f4 ebfd")  # cli; hlt; and again
_KERNEL = (bytes(0x200) + _HALT).ljust(4096, b"\0")


@dataclass(frozen=True)
class Trial:
    """What a trial showed; None is well.

    `fork`: why a machine cannot be saved and restored. `cable`: why it cannot send; not tried if
    `fork` is told.
    """

    fork: HypervisorError | None
    cable: HypervisorError | None


def try_machine(connection: Connection, folder: Path, accel: Literal["kvm", "tcg"]) -> Trial:
    """Start a machine, save it, restore it and let it run, with a cable that it sends through.

    Everything is made below `folder`, and the machine is gone afterwards. Raises HypervisorError
    if it does not even start.
    """
    with (
        step("Try a machine", Spent.PROVISIONING),
        lease_ports(2) as (ssh, port),
        socket.create_server((_LOOPBACK, port)) as far_end,
    ):
        kernel, memory = folder / "trial-kernel", folder / "trial-memory"
        kernel.write_bytes(_KERNEL)
        spec = _spec(kernel, folder, accel, ssh, TcpCable(port, listens=False))
        first = start(connection, spec)
        try:
            try:
                first.pause()
                first.save(memory)
            finally:
                first.destroy()
            second = restore(connection, spec, memory)
        except HypervisorError as error:
            return Trial(error, None)
        try:
            second.resume()
            if not second.is_running:
                problem = HypervisorError(
                    f"a machine that was restored does not run\n{second.describe()}"
                )
                return Trial(problem, None)
            return Trial(None, _cable_problem(far_end))
        finally:
            second.destroy()


def _spec(
    kernel: Path, folder: Path, accel: Literal["kvm", "tcg"], ssh_port: int, cable: TcpCable
) -> DomainSpec:
    return DomainSpec(
        name="pathproof-trial",
        uuid=str(uuid.uuid4()),
        accel=accel,
        cpus=1,
        memory_bytes=32 * MIB,
        kernel=kernel,
        initrd=None,
        cmdline="",
        disks=(),
        nics=(Nic(_MAC, cable),),
        ssh_port=ssh_port,
        management_mac=_MANAGEMENT_MAC,
        console_log=folder / "trial-console.log",
    )


def _cable_problem(far_end: socket.socket) -> HypervisorError | None:
    """Wait for the frames by which QEMU announces a NIC after a restore, each with its MAC.

    QEMU connected twice: for the machine that was saved, and for the one that was restored. On the
    wire each frame follows its length (net/socket.c in QEMU).
    """
    far_end.settimeout(_FRAME_TIMEOUT_S)
    try:
        far_end.accept()[0].close()
        with far_end.accept()[0] as cable:
            cable.settimeout(_FRAME_TIMEOUT_S)
            came = cable.recv(4 + _HEADER, socket.MSG_WAITALL)
    except TimeoutError:
        return HypervisorError(
            f"a cable carried nothing: QEMU sent a frame, and none came out within "
            f"{_FRAME_TIMEOUT_S:.0f} s",
            hint="look for a packet filter on the loopback interface: `nft list ruleset`",
        )
    if bytes.fromhex(_MAC.replace(":", "")) not in came[4:]:
        return HypervisorError(f"a cable carried something else than was sent: {came.hex()}")
    return None
