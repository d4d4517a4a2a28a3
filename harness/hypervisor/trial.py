"""Try on a tiny machine what testbeds rely on: it starts, its cable carries, libvirt forks it.

The machine has no system. It halts as soon as it runs, and its memory is a megabyte when saved.
One trial takes about a second under emulation.
"""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.errors import HypervisorError
from harness.hypervisor.connection import Connection
from harness.hypervisor.domain import Domain, restore, start
from harness.hypervisor.domain_xml import Bridge, DomainSpec, Network, Nic, TcpCable
from harness.hypervisor.ports import lease_ports
from harness.steps import Spent, step
from harness.units import MIB

_MAC, _MANAGEMENT_MAC = "52:54:00:70:70:01", "52:54:00:70:70:02"
_FIRST_OTHER = 0x10  # in the last byte of the MAC
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

    `fork`: why a machine cannot be saved and restored; tried with the embedded driver, the only one
    that forks. `cable`: why it cannot send, which is tried whether it can be restored or not.
    """

    fork: HypervisorError | None
    cable: HypervisorError | None


def try_machine(
    connection: Connection,
    folder: Path,
    accel: Literal["kvm", "tcg"],
    *,
    name: str = "pathproof-trial",
    attached: Sequence[Network | Bridge] = (),
) -> Trial:
    """Start a machine with a cable that it sends through, save it, restore it and let it run.

    It is `attached` to networks and bridges, too, and sends nothing there. Everything is made below
    `folder`, and the machine is gone afterwards. Raises HypervisorError if it does not even start.
    """
    with step("Try a machine", Spent.PROVISIONING), lease_ports(1) as (ssh,), _listening() as end:
        kernel, memory = folder / "trial-kernel", folder / "trial-memory"
        kernel.write_bytes(_KERNEL)
        cable = TcpCable(end.getsockname()[1], listens=False)
        spec = _spec(kernel, folder, accel, ssh, cable)
        others = (Nic(f"{_MAC[:-2]}{n:02x}", to) for n, to in enumerate(attached, _FIRST_OTHER))
        spec = replace(spec, name=name, nics=(*spec.nics, *others))
        first = start(connection, spec)
        try:
            cable_problem = _cable_problem(end, lambda: _announce(first))
            if not connection.is_embedded:
                return Trial(None, cable_problem)
            fork_problem = _save_problem(first, memory)
        finally:
            first.destroy()
        return Trial(fork_problem or _restore_problem(connection, spec, memory), cable_problem)


@contextmanager
def _listening() -> Iterator[socket.socket]:
    """A port that the kernel chooses. Raises HypervisorError if it gives none."""
    try:
        end = socket.create_server((_LOOPBACK, 0))
    except OSError as error:
        raise HypervisorError(f"no port of {_LOOPBACK} can be opened: {error}") from None
    with end:
        yield end


def _save_problem(machine: Domain, memory: Path) -> HypervisorError | None:
    try:
        machine.pause()
        machine.save(memory)
    except HypervisorError as error:
        return error
    return None


def _restore_problem(
    connection: Connection, spec: DomainSpec, memory: Path
) -> HypervisorError | None:
    try:
        with ExitStack() as made:
            machine = restore(connection, spec, memory)
            made.callback(machine.destroy)
            machine.resume()
            if not machine.is_running:
                return HypervisorError(
                    f"a machine that was restored does not run\n{machine.describe()}"
                )
    except HypervisorError as error:
        return error
    return None


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


def _announce(machine: Domain) -> None:
    """Have QEMU send a frame through each NIC, which the guest has no part in.

    A RARP request with the NIC's MAC (`announce-self` in QEMU's QMP reference).
    """
    import libvirt
    import libvirt_qemu

    pace = {"initial": 50, "max": 550, "rounds": 5, "step": 50}
    text = json.dumps({"execute": "announce-self", "arguments": pace})
    try:
        answer = json.loads(libvirt_qemu.qemuMonitorCommand(machine.handle, text, 0))
    except libvirt.libvirtError as error:
        raise HypervisorError(f"{machine.name}: QEMU cannot be made to send: {error}") from None
    if "error" in answer:
        raise HypervisorError(f"{machine.name}: QEMU refuses to send: {answer['error']}")


def _cable_problem(end: socket.socket, send: Callable[[], None]) -> HypervisorError | None:
    """Wait for QEMU to connect and for the frame that `send` has it send.

    On the wire each frame follows its length (net/socket.c in QEMU).
    """
    end.settimeout(_FRAME_TIMEOUT_S)
    try:
        with end.accept()[0] as cable:
            cable.settimeout(_FRAME_TIMEOUT_S)
            send()
            came = cable.recv(4 + _HEADER, socket.MSG_WAITALL)
    except TimeoutError:
        return HypervisorError(
            f"a cable carried nothing: QEMU sent a frame, and none came out within "
            f"{_FRAME_TIMEOUT_S:.0f} s",
            hint="look for a packet filter on the loopback interface: `nft list ruleset`",
        )
    except OSError as error:
        return HypervisorError(f"a cable broke: {error}")
    except HypervisorError as error:
        return error
    if bytes.fromhex(_MAC.replace(":", "")) not in came[4:]:
        return HypervisorError(
            f"a cable carried something else than was sent: {came.hex() or 'nothing'}"
        )
    return None
