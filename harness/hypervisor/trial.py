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
from harness.hypervisor.domain_xml import DomainSpec, Nic, UdpCable
from harness.hypervisor.ports import lease_ports
from harness.steps import Spent, step
from harness.units import MIB

_MAC, _MANAGEMENT_MAC = "52:54:00:70:70:01", "52:54:00:70:70:02"
_FRAME_TIMEOUT_S = 3.0
_LOOPBACK = "127.0.0.1"
# A full Ethernet frame, and as many at once as Linux's own size of a socket's buffer holds
# (net.core.rmem_default, 212992: 92 were seen to fit) with some room left.
_FRAME, _BURST = 1514, 64

# QEMU takes a file without a header for a Linux kernel of before 1995 (the boot protocol in the
# kernel's Documentation/arch/x86/boot.rst): its set-up code begins at 0x200, in real mode.
_HALT = bytes.fromhex("fa f4 ebfd")  # cli; hlt; and again
_KERNEL = (bytes(0x200) + _HALT).ljust(4096, b"\0")


@dataclass(frozen=True)
class Trial:
    """What a trial showed; None is well.

    `fork`: why a machine cannot be saved and restored. `cable`: why it cannot send; not tried if
    `fork` is told. `burst`: frames were lost in the sockets that cables are made of.
    """

    fork: HypervisorError | None
    cable: HypervisorError | None
    burst: HypervisorError | None


def try_machine(connection: Connection, folder: Path, accel: Literal["kvm", "tcg"]) -> Trial:
    """Start a machine, save it, restore it and let it run, with a cable that it sends through.

    Everything is made below `folder`, and the machine is gone afterwards. Raises HypervisorError
    if it does not even start.
    """
    with (
        step("Try a machine", Spent.PROVISIONING),
        lease_ports(3) as (ssh, near, far),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far_end,
    ):
        far_end.bind((_LOOPBACK, far))
        kernel, memory = folder / "trial-kernel", folder / "trial-memory"
        kernel.write_bytes(_KERNEL)
        spec = _spec(kernel, folder, accel, ssh, UdpCable(near, far))
        first = start(connection, spec)
        try:
            try:
                first.pause()
                first.save(memory)
            finally:
                first.destroy()
            second = restore(connection, spec, memory)
        except HypervisorError as error:
            return Trial(error, None, _burst_problem())
        try:
            second.resume()
            if not second.is_running:
                problem = HypervisorError(
                    f"a machine that was restored does not run\n{second.describe()}"
                )
                return Trial(problem, None, _burst_problem())
            return Trial(None, _cable_problem(far_end), _burst_problem())
        finally:
            second.destroy()


def _spec(
    kernel: Path, folder: Path, accel: Literal["kvm", "tcg"], ssh_port: int, cable: UdpCable
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
    """Wait for the frames by which QEMU announces a NIC after a restore, each with its MAC."""
    far_end.settimeout(_FRAME_TIMEOUT_S)
    try:
        frame = far_end.recv(65536)
    except TimeoutError:
        return HypervisorError(
            f"a cable carried nothing: QEMU sent a frame, and none came out within "
            f"{_FRAME_TIMEOUT_S:.0f} s",
            hint="look for a packet filter on the loopback interface: `nft list ruleset`",
        )
    if bytes.fromhex(_MAC.replace(":", "")) not in frame[:14]:
        return HypervisorError(f"a cable carried something else than was sent: {frame[:64].hex()}")
    return None


def _burst_problem() -> HypervisorError | None:
    """Send a burst of full frames through two sockets as QEMU has them, in both directions."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        lease_ports(2) as ports,
    ):
        for end, port in zip((one, other), ports, strict=True):
            end.bind((_LOOPBACK, port))
            end.settimeout(0.2)
        one.connect(other.getsockname())
        other.connect(one.getsockname())
        came = [_carried(one, other), _carried(other, one)]
    if came == [_BURST, _BURST]:
        return None
    return HypervisorError(
        f"a cable's sockets lost datagrams: of {_BURST} frames of {_FRAME} bytes at once, "
        f"{came[0]} arrived in one direction, {came[1]} in the other",
        hint="allow larger buffers: `sysctl net.core.rmem_default=1048576`; "
        "or a packet filter drops them: `nft list ruleset`",
    )


def _carried(sender: socket.socket, receiver: socket.socket) -> int:
    """How many frames of a burst arrive."""
    for number in range(_BURST):
        sender.send(number.to_bytes(2, "big").ljust(_FRAME, b"\0"))
    arrived = 0
    try:
        while arrived < _BURST and receiver.recv(65536):
            arrived += 1
    except OSError:  # no more came in time, or a filter refused them
        pass
    return arrived
