"""The user as whom libvirt runs QEMU, and what its rights cost."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import pytest

from harness import steps
from harness.hypervisor.qemu_user import QemuUser, explaining, qemu_user, slow_start

OWNER, GROUP, OTHER = QemuUser(1, 90), QemuUser(2, 9), QemuUser(2, 90)


def status(mode: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, 1, 9, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "those"),
    [
        (0o600, [OWNER]),
        (0o060, [GROUP]),
        (0o006, [OTHER]),
        (0o660, [OWNER, GROUP]),
        (0o666, [OWNER, GROUP, OTHER]),
        (0o444, []),
    ],
)
def test_a_file_is_used_by_the_class_that_a_user_belongs_to(
    mode: int, those: list[QemuUser]
) -> None:
    """Only by the first that fits, as path_resolution(7) has it."""
    assert [user for user in (OWNER, GROUP, OTHER) if user.may_use(status(mode))] == those
    assert QemuUser(0, 0).may_use(status(0))


def test_the_group_of_etc_passwd_counts_beside_the_one_that_libvirt_runs_qemu_as() -> None:
    """On Debian it is the only one in which libvirt-qemu is let to /dev/kvm."""
    entry = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    user = QemuUser(entry.pw_uid, entry.pw_gid + 1)
    assert user.groups >= {entry.pw_gid, entry.pw_gid + 1}
    assert user.may_use(os.stat_result((0o060, 0, 0, 1, 0, entry.pw_gid, 0, 0, 0, 0)))


def test_libvirts_user_is_the_owner_of_its_state_unless_it_is_this_one(tmp_path: Path) -> None:
    """Only a system libvirt of this host has one."""
    uris = ("qemu:///system", "qemu:///session", "embedded", "qemu+ssh://rack1/system")
    assert [qemu_user(uri, Path("/proc/1/none")) for uri in uris] == [None] * 4
    assert qemu_user("qemu:///system", tmp_path) is None
    foreign = next(
        (path for path in Path("/").iterdir() if path.stat().st_uid != os.geteuid()), None
    )
    if os.geteuid() == 0:
        os.chown(tmp_path, 4711, 4712)
        foreign = tmp_path
    assert foreign is not None
    owner = foreign.stat()
    assert qemu_user("qemu:///system", foreign) == QemuUser(owner.st_uid, owner.st_gid)
    assert [qemu_user(uri, foreign) for uri in uris[1:]] == [None] * 3


def test_a_libvirt_that_asks_qemu_anew_each_time_is_explained_with_the_cure(
    tmp_path: Path,
) -> None:
    """It does so if its user cannot open a device that root can open."""
    device = tmp_path / "kvm"
    stranger = QemuUser(os.geteuid() + 1, os.getegid() + 1)
    assert slow_start(stranger, device) is None  # QEMU says the same
    device.touch(0o600)
    slow = slow_start(stranger, device)
    assert slow is not None
    assert f"since {stranger.name} cannot open {device} (" in slow.cause
    assert "mode 0600" in slow.cause
    assert f"as root: `chgrp kvm {device} && chmod 660 {device}`" in slow.cure
    assert slow_start(None, device) is None
    device.chmod(0o666)
    assert slow_start(stranger, device) is None


class Heard(steps.Listener):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def progressed(self, step: steps.Step, message: str, fraction: float | None) -> None:
        self.messages.append(f"{step.title}: {message}")


@pytest.mark.parametrize(
    ("reason", "after_s", "said"),
    [("asks anew", 0, ["start it: asks anew"]), ("", 0, []), ("asks anew", 60, [])],
)
def test_a_long_silence_is_explained_while_it_lasts(
    reason: str, after_s: float, said: list[str]
) -> None:
    """Not a short one, and not without a reason."""
    heard = Heard()
    with steps.listening(heard), steps.step("start it"), explaining(reason, after_s):
        give_up = time.monotonic() + 5
        while said and not heard.messages and time.monotonic() < give_up:
            time.sleep(0.001)
    assert heard.messages == said
