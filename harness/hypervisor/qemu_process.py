"""The process of a guest of a libvirt that is shared: looked for among those of this host.

libvirt's own record of it, below /run/libvirt or XDG_RUNTIME_DIR, may be for other eyes, and a URI
does not say whether libvirt runs here. Command lines can be read by everybody (proc(5)), unless
/proc is mounted with `hidepid`, and the one of QEMU has the guest's UUID.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

PROC = Path("/proc")


def find(uuid: str, proc: Path = PROC) -> int | None:
    """The process of the guest with that UUID; None if it runs on another host or is hidden."""
    pids = (int(process.name) for process in proc.glob("[0-9]*"))
    return next((pid for pid in pids if runs(uuid, pid, proc)), None)


def runs(uuid: str, pid: int, proc: Path = PROC) -> bool:
    """Whether that process is QEMU with the guest of that UUID.

    `/usr/bin/qemu-system-x86_64 -name guest=… -uuid 5aaf5fa4-… -display none …`
    """
    try:
        program, *arguments = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"qemu" in program and (b"-uuid", uuid.encode()) in pairwise(arguments)
