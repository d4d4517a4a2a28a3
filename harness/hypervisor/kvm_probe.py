"""Prove that KVM runs guests, by running one.

That /dev/kvm opens and makes virtual CPUs proves nothing. Seen on a nested host that
emulates most of what a guest does: firmware runs, 40 times slower than under TCG, and a
Debian kernel never leaves early boot; with `-cpu host` QEMU 7.2 aborts at once ("failed to
set MSR 0x10a"). Both probes use the CPU and machine that `domain_xml` gives a guest.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from harness.errors import HypervisorError
from harness.hypervisor.tool import run_tool

PROGRAM_TIMEOUT_S = 5.0
KERNEL_TIMEOUT_S = 8.0

QEMU = "qemu-system-x86_64"
_CPUS = {"kvm": "host,migratable=on", "tcg": "max"}

# isa-debug-exit ends QEMU with twice the byte written to it, plus one.
_PROGRAM_SAYS = 0x15
_PROGRAM_STATUS = _PROGRAM_SAYS << 1 | 1

# Real mode -> protected mode -> long mode with paging, then 2^26 increments in memory:
# 0.1 to 0.3 s on hardware, 0.4 s under TCG, and no end in sight where instructions are
# emulated one by one.
_PROGRAM = bytes.fromhex(
    # 7c00, 16 bits
    "fa"  # cli
    "31c0 8ed8 8ec0"  # ax = ds = es = 0
    "0f0116207d"  # lgdt [7d20]
    "0f20c0 0c01 0f22c0"  # cr0 |= PE
    "ea197c0800"  # jmp 08:7c19
    # 7c19, 32 bits
    "66b81000 8ed8 8ec0"  # ds = es = 10
    "bf00100000 31c0 b9000c0000 f3ab"  # zero three page tables at 1000
    "c7050010000003200000"  # [1000] = 2000 | present, writable
    "c7050020000003300000"  # [2000] = 3000 | present, writable
    "c7050030000083000000"  # [3000] = the first 2 MiB, one page
    "b800100000 0f22d8"  # cr3 = 1000
    "0f20e0 0c20 0f22e0"  # cr4 |= PAE
    "b9800000c0 0f32 80cc01 0f30"  # efer |= LME
    "0f20c0 0d00000080 0f22c0"  # cr0 |= PG
    "ea7b7c00001800"  # jmp 18:7c7b
    # 7c7b, 64 bits
    "b900000004"  # ecx = 2^26
    "ff042500050000"  # 7c80: inc dword [500]
    "ffc9 75f5"  # dec ecx; jnz 7c80
    f"b0{_PROGRAM_SAYS:02x} e6f4"  # out f4, al
    "f4 ebfd"  # hlt, for ever
)
# At 7d00: null, 32-bit code (08), data (10), 64-bit code (18); at 7d20 what lgdt loads.
_DESCRIPTORS = bytes.fromhex(
    "0000000000000000 ffff0000009acf00 ffff00000092cf00 ffff0000009aaf00 1f00007d0000"
)


def boot_sector() -> bytes:
    """The test program as a bootable disk of 512 bytes."""
    return (_PROGRAM.ljust(0x100, b"\0") + _DESCRIPTORS).ljust(510, b"\0") + b"\x55\xaa"


def program_argv(disk: Path, accel: Literal["kvm", "tcg"]) -> list[str]:
    """QEMU, running the test program from `disk`."""
    return [
        *_machine_argv(accel, memory_mib=64),
        *("-drive", f"file={_escaped(disk)},format=raw,if=ide"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
    ]


def kernel_argv(kernel: Path, accel: Literal["kvm", "tcg"]) -> list[str]:
    """QEMU, booting `kernel` without initrd or disk, so that it soon panics, which ends QEMU."""
    return [
        *_machine_argv(accel, memory_mib=256),
        *("-kernel", str(kernel)),
        *("-append", "console=ttyS0 panic=-1"),
        *("-serial", "stdio"),
    ]


def program_problem(accel: Literal["kvm", "tcg"] = "kvm") -> str | None:
    """What keeps `accel` from running the test program, or None. Takes 5 s at most."""
    with tempfile.TemporaryDirectory(prefix="pathproof-") as directory:
        disk = Path(directory, "program.raw")
        disk.write_bytes(boot_sector())
        ended = _run(program_argv(disk, accel), PROGRAM_TIMEOUT_S)
    if ended is None:
        return (
            "runs a guest's instructions slower than emulation would, or not at all (a test "
            f"program of less than a second did not end within {PROGRAM_TIMEOUT_S:.0f} s)"
        )
    status, _, complaint = ended
    if status == _PROGRAM_STATUS:
        return None
    return f"does not run a 64-bit test program ({complaint or f'QEMU ended with status {status}'})"


def kernel_problem(kernel: Path, accel: Literal["kvm", "tcg"] = "kvm") -> str | None:
    """What keeps `accel` from booting `kernel`, or None. Takes 8 s at most.

    Its panic must be seen on the console: a guest that falls over in early boot also ends
    QEMU, and with status 0.
    """
    ended = _run(kernel_argv(kernel, accel), KERNEL_TIMEOUT_S)
    if ended is None:
        return f"does not run the guest kernel (probe boot hung for {KERNEL_TIMEOUT_S:.0f} s)"
    status, console, complaint = ended
    if status == 0 and "Kernel panic" in console:
        return None
    return (
        "does not run the guest kernel (probe boot ended early: "
        f"{complaint or f'QEMU ended with status {status}'})"
    )


def _machine_argv(accel: Literal["kvm", "tcg"], memory_mib: int) -> list[str]:
    return [
        *("setpriv", "--pdeathsig", "KILL", "--"),  # nothing would end it afterwards
        *(QEMU, "-no-user-config", "-nodefaults", "-no-reboot"),
        *("-display", "none"),
        *("-machine", "pc"),
        *("-accel", accel),
        *("-cpu", _CPUS[accel]),
        *("-m", str(memory_mib)),
    ]


def _escaped(path: Path) -> str:
    """A path within one of QEMU's comma-separated options."""
    return str(path).replace(",", ",,")


def _run(argv: Sequence[str], timeout_s: float) -> tuple[int, str, str] | None:
    """Exit status, standard output and QEMU's first complaint; None if it had to be killed."""
    try:
        done = run_tool(argv, timeout_s)
    except subprocess.TimeoutExpired:
        return None
    except FileNotFoundError:
        raise HypervisorError(
            f"{QEMU} is not installed", hint="./bootstrap installs it (Debian: qemu-system-x86)"
        ) from None
    complaints = [line for line in done.stderr.splitlines() if "warning:" not in line]
    complaint = complaints[0].removeprefix(f"{QEMU}: ") if complaints else ""
    return done.returncode, done.stdout, complaint
