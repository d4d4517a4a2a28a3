"""The user as whom a system libvirt of this host runs QEMU, and what its rights cost.

Before libvirt starts a machine it asks QEMU what it can do, as that user but with the right to
open any file (`qemuProcessQMPLaunch` of libvirt 9.0 keeps CAP_DAC_OVERRIDE). QEMU then says that
KVM works, libvirt finds that the user cannot open /dev/kvm, does not trust its record of the
answer ("KVM was enabled when probing …, but it is not available now", `virQEMUCapsIsValid`) and
asks again, with two QEMUs each time, which go into the background and whose end it waits for.
Seen with libvirt 9.0: 0.6 s where process 1 waits for its orphans, 81 s where it never does, as
in many containers.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

from harness.config.uri import is_system_here
from harness.errors import Problem
from harness.steps import progress

# libvirt gives it to QEMU's user when it starts (`qemuStateInitialize`), whatever qemu.conf says.
_STATE = Path("/var/lib/libvirt/qemu")
_PATIENCE_S = 5.0
_GROUP_MAY = stat.S_IRGRP | stat.S_IWGRP


@dataclass(frozen=True)
class QemuUser:
    """A user of this host."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    @property
    def groups(self) -> frozenset[int]:
        """All that libvirt gives to its processes: also the one of /etc/passwd, kvm on Debian."""
        with suppress(KeyError):
            entry = pwd.getpwuid(self.uid)
            return frozenset({self.gid, *os.getgrouplist(entry.pw_name, entry.pw_gid)})
        return frozenset({self.gid})

    def may_use(self, status: os.stat_result) -> bool:
        """Whether it may read and write a file, by its owner, group and mode."""
        if self.uid == 0:
            return True
        if self.uid == status.st_uid:
            needed = stat.S_IRUSR | stat.S_IWUSR
        elif status.st_gid in self.groups:
            needed = _GROUP_MAY
        else:
            needed = stat.S_IROTH | stat.S_IWOTH
        return status.st_mode & needed == needed


def qemu_user(uri: str, state: Path = _STATE) -> QemuUser | None:
    """Whom the libvirt at `uri` runs QEMU as, if that is a user of this host and not we.

    None also if it is unknown: libvirt was built for another folder, or never started.
    """
    if not is_system_here(uri):
        return None
    try:
        status = state.stat()
    except OSError:
        return None
    return QemuUser(status.st_uid, status.st_gid) if status.st_uid != os.geteuid() else None


def slow_start(user: QemuUser | None, device: Path) -> Problem | None:
    """Why libvirt takes long to start a machine, with the cure; None if it does not."""
    try:
        status = device.stat()
    except OSError:
        return None  # QEMU does not find KVM either, and both agree
    if user is None or user.may_use(status):
        return None
    return Problem(
        f"libvirt asks QEMU anew before each machine what it can do, since {user.name} cannot open "
        f"{device} ({described(status)}) and root can",
        cure(user.name, device, status),
    )


def cure(user: str, device: Path, status: os.stat_result) -> str:
    """What gives `user` the right to `device`: its group, if that may use it and is not root's."""
    if status.st_gid != 0 and status.st_mode & _GROUP_MAY == _GROUP_MAY:
        return f"as root: `usermod --append --groups {_group(status)} {user}`"
    return (
        f"as root: `chgrp kvm {device} && chmod 660 {device}`, as udev's rules have it, "
        f"with {user} in the group kvm"
    )


def _group(status: os.stat_result) -> str:
    try:
        return grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        return str(status.st_gid)


def described(status: os.stat_result) -> str:
    """`root:root, mode 0600`."""
    owner = QemuUser(status.st_uid, status.st_gid).name
    return f"{owner}:{_group(status)}, mode {stat.S_IMODE(status.st_mode):04o}"


@contextmanager
def explaining(reason: str, after_s: float = _PATIENCE_S) -> Iterator[None]:
    """Say `reason`, unless it is empty, if the block lasts longer than `after_s`."""
    timer = threading.Timer(after_s, copy_context().run, (progress, reason))
    timer.daemon = True
    if reason:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
