"""KVM or emulation: the choice and its proof."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Literal

import pytest

from harness.errors import HarnessError, HypervisorError
from harness.hypervisor import kvm_probe
from harness.hypervisor.accel import choose, examine_kvm, expected
from harness.hypervisor.qemu_user import QemuUser
from harness.lacking import Lacking

WANTED: tuple[Literal["auto", "kvm"], ...] = ("auto", "kvm")


class Probes:
    """Stand-ins for both probes; `asked` lists the calls."""

    def __init__(self) -> None:
        self.program: str | None = None
        self.guest_kernel: str | None = None
        self.asked: list[str] = []

    def program_problem(self) -> str | None:
        self.asked.append("program")
        return self.program

    def kernel_problem(self, kernel: Path) -> str | None:
        self.asked.append(kernel.name)
        return self.guest_kernel


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    stand_ins = Probes()
    monkeypatch.setattr(kvm_probe, "program_problem", stand_ins.program_problem)
    monkeypatch.setattr(kvm_probe, "kernel_problem", stand_ins.kernel_problem)
    return stand_ins


@pytest.fixture
def device(tmp_path: Path) -> Path:
    file = tmp_path / "kvm"
    file.touch(0o600)
    return file


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    file = tmp_path / "vmlinuz"
    file.write_bytes(b"one")
    return file


def test_kvm_that_runs_the_guest_kernel_is_chosen_and_asked_only_once(
    probes: Probes, device: Path, kernel: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        choice = choose("auto", tmp_path / "cache", kernel=kernel, device=device)
        assert (choice.accel, choice.warning) == ("kvm", None)
    assert probes.asked == ["program", "vmlinuz"]


def test_another_guest_kernel_is_tried_anew(
    probes: Probes, device: Path, kernel: Path, tmp_path: Path
) -> None:
    examine_kvm(tmp_path / "cache", kernel=kernel, device=device)
    kernel.write_bytes(b"two")
    examine_kvm(tmp_path / "cache", kernel=kernel, device=device)
    assert probes.asked == ["program", "vmlinuz", "vmlinuz"]


def test_changed_permissions_of_the_device_are_tried_anew(
    probes: Probes, device: Path, tmp_path: Path
) -> None:
    examine_kvm(tmp_path / "cache", device=device)
    device.chmod(0o660)
    examine_kvm(tmp_path / "cache", device=device)
    assert probes.asked == ["program", "program"]


def test_without_a_guest_kernel_a_good_answer_is_not_called_proven(
    probes: Probes, device: Path, tmp_path: Path
) -> None:
    kvm = examine_kvm(tmp_path / "cache", device=device)
    assert kvm.usable
    assert not kvm.proven
    assert "not tried yet" in kvm.reason


@pytest.mark.parametrize("broken", ["program", "guest_kernel"])
def test_auto_falls_back_with_a_warning_that_says_why(
    probes: Probes, device: Path, kernel: Path, tmp_path: Path, broken: str
) -> None:
    setattr(probes, broken, "does not run it (hung for 8 s)")
    choice = choose("auto", tmp_path / "cache", kernel=kernel, device=device)
    assert choice.accel == "tcg"
    assert choice.warning is not None
    assert (
        f"KVM: {device} is present but unusable: it does not run it (hung for 8 s)"
        in choice.warning
    )
    assert choice.lacking == Lacking(
        "kvm",
        f"{device} is present but unusable: it does not run it (hung for 8 s)",
        "use a host where KVM works; `--accel tcg` says that emulation is wanted",
    )
    assert choose("tcg", tmp_path / "cache", kernel=kernel, device=device).lacking is None


def test_kvm_demanded_where_it_does_not_work_is_an_error_with_a_way_out(
    probes: Probes, device: Path, tmp_path: Path
) -> None:
    probes.program = "does not run it"
    with pytest.raises(HypervisorError, match="does not run it\nhint: 'auto' or 'tcg'"):
        choose("kvm", tmp_path / "cache", device=device)
    stranger = QemuUser(uid=device.stat().st_uid + 1, gid=device.stat().st_gid + 1)
    with pytest.raises(HypervisorError, match=r"hint: as root: .*; 'auto' or 'tcg' use emulation"):
        choose("kvm", tmp_path / "cache", device=device, user=stranger)


def test_kvm_required_where_it_does_not_work_has_a_cure_that_keeps_the_requirement(
    probes: Probes, device: Path, tmp_path: Path
) -> None:
    """Emulation is no way out: that is what was refused."""
    probes.program = "does not run it"
    with pytest.raises(HarnessError) as refused:
        choose("auto", tmp_path / "cache", device=device, required=True)
    assert str(refused.value) == (
        f"KVM is required and lacking: {device} is present but unusable: it does not run it\n"
        "hint: use a host where KVM works, or leave `kvm` out of what is required"
    )


@pytest.mark.parametrize("how", ["demanded", "required"])
def test_who_insists_on_kvm_has_it_tried_again(
    probes: Probes, device: Path, kernel: Path, tmp_path: Path, how: str
) -> None:
    """A refusal is remembered for a day, and what was wrong may have been repaired since."""

    def insist() -> str:
        return choose(
            "kvm" if how == "demanded" else "auto",
            tmp_path / "cache",
            kernel=kernel,
            device=device,
            required=how == "required",
        ).accel

    probes.guest_kernel = "hung for 8 s"
    with pytest.raises(HarnessError):
        insist()
    probes.guest_kernel = None
    assert choose("auto", tmp_path / "cache", kernel=kernel, device=device).accel == "tcg"
    assert probes.asked == ["program", "vmlinuz"]
    assert insist() == "kvm"
    assert insist() == "kvm"
    assert probes.asked == ["program", "vmlinuz", "vmlinuz"]  # what works is not tried again


def test_what_will_be_chosen_is_known_without_trying(
    probes: Probes, device: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    assert expected("auto", cache, device=device) == "tcg"
    assert (expected("kvm", cache), expected("tcg", cache)) == ("kvm", "tcg")
    choose("auto", cache, device=device)
    assert probes.asked == ["program"]
    assert expected("auto", cache, device=device) == "kvm"
    assert expected("auto", cache, device=tmp_path / "none") == "tcg"
    assert probes.asked == ["program"]


def test_a_kernel_that_kvm_did_not_run_is_expected_to_be_emulated(
    probes: Probes, device: Path, kernel: Path, tmp_path: Path
) -> None:
    """The test program ran all the same; a kernel that was not tried yet is expected to run."""
    cache = tmp_path / "cache"
    probes.guest_kernel = "hung for 8 s"
    choose("auto", cache, kernel=kernel, device=device)
    assert expected("auto", cache, kernel=kernel, device=device) == "tcg"
    other = tmp_path / "other"
    other.write_bytes(b"two")
    assert expected("auto", cache, kernel=other, device=device) == "kvm"


def test_kvm_is_expected_by_the_rights_of_the_one_who_runs_qemu(
    probes: Probes, device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rights of this user count, too: this user tries it."""
    cache, status = tmp_path / "cache", device.stat()
    choose("auto", cache, device=device)
    stranger = QemuUser(uid=status.st_uid + 1, gid=status.st_gid + 1)
    owner = QemuUser(status.st_uid, status.st_gid)
    assert expected("auto", cache, device=device, user=stranger) == "tcg"
    assert expected("auto", cache, device=device, user=owner) == "kvm"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert expected("auto", cache, device=device, user=owner) == "tcg"


def test_kvm_is_judged_by_the_rights_of_the_one_who_runs_qemu(
    probes: Probes, device: Path, tmp_path: Path
) -> None:
    """Root can open any device, and libvirt's QEMU runs as somebody else."""
    stranger = QemuUser(uid=device.stat().st_uid + 1, gid=device.stat().st_gid + 1)
    choice = choose("auto", tmp_path / "cache", device=device, user=stranger)
    assert choice.accel == "tcg"
    assert (
        f"{device} is not accessible by {stranger.name}, as whom libvirt runs QEMU" in choice.reason
    )
    assert "mode 0600" in choice.reason
    assert choice.lacking is not None
    assert "chmod" not in choice.reason
    assert "another" not in choice.lacking.cure
    assert choice.lacking.cure.startswith(f"as root: `chgrp kvm {device} && chmod 660 {device}`")
    assert probes.asked == []
    device.chmod(0o666)
    assert choose("auto", tmp_path / "cache", device=device, user=stranger).accel == "kvm"


def test_who_may_not_try_kvm_is_believed_and_only_if_he_says_so(
    probes: Probes, device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the group libvirt and not of kvm: QEMU's user may, and we may not."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    status = device.stat()
    user = QemuUser(status.st_uid, status.st_gid)
    choice = choose("auto", tmp_path / "cache", device=device, user=user)
    assert choice.accel == "tcg"
    assert "not by this user, who cannot try it" in choice.reason
    assert choice.lacking is not None
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert choice.lacking.cure.endswith(
        f"{me} in the group kvm; then log in again; `--accel kvm` uses KVM untried; "
        "`--accel tcg` says that emulation is wanted"
    )
    assert choose("kvm", tmp_path / "cache", device=device, user=user).accel == "kvm"
    for wanted in WANTED:
        with pytest.raises(
            HarnessError, match=r"KVM is required and lacking: .*cannot try it"
        ) as e:
            choose(wanted, tmp_path / "cache", device=device, user=user, required=True)
        assert "untried" not in e.value.hint  # that would be refused as well
    assert probes.asked == []


def test_a_missing_device_is_named_without_trying_anything(probes: Probes, tmp_path: Path) -> None:
    choice = choose("auto", tmp_path / "cache", device=tmp_path / "no-kvm")
    assert choice.accel == "tcg"
    assert "no-kvm is missing" in choice.reason
    assert probes.asked == []


GROUP = next(group for group in grp.getgrall() if group.gr_gid != 0)


@pytest.mark.parametrize(
    ("mode", "group", "cure"),
    [
        (0o660, GROUP.gr_gid, f"as root: `usermod --append --groups {GROUP.gr_name} USER`"),
        (0o660, 0, "as root: `chgrp kvm KVM && chmod 660 KVM`, as udev's rules have it, with USER"),
        (0o600, GROUP.gr_gid, "as root: `chgrp kvm KVM && chmod 660 KVM`"),
    ],
)
def test_a_device_that_others_own_says_what_to_do(
    probes: Probes,
    device: Path,
    tmp_path: Path,
    mode: int,
    group: int,
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For the one who runs QEMU: this user, or that of a system libvirt. None joins root's group.

    The reason names the fault, the cure the way out, and neither has the other's words.
    """
    real = device.stat()
    there = os.stat_result((real.st_mode & ~0o777 | mode, *real[1:4], 0, group, *real[6:]))
    monkeypatch.setattr(Path, "stat", lambda *_, **__: there)
    monkeypatch.setattr("harness.hypervisor.accel.os.access", lambda *_: False)
    nobody = pwd.getpwnam("nobody")
    users = {
        pwd.getpwuid(os.geteuid()).pw_name: None,
        "nobody": QemuUser(nobody.pw_uid, nobody.pw_gid),
    }
    for name, user in users.items():
        kvm = examine_kvm(tmp_path / "cache", device=device, user=user)
        assert not kvm.usable
        assert f"mode {mode:04o}" in kvm.reason
        assert "usermod" not in kvm.reason
        assert kvm.cure.startswith(cure.replace("KVM", str(device)).replace("USER", name))
        assert ("log in again" in kvm.cure) is (user is None)
    assert probes.asked == []


def test_emulation_asked_for_is_taken_without_a_look_at_kvm(probes: Probes, tmp_path: Path) -> None:
    assert choose("tcg", tmp_path).accel == "tcg"
    assert probes.asked == []


def test_an_unreadable_cache_only_costs_time(probes: Probes, device: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    examine_kvm(cache, device=device)
    next(cache.glob("kvm-*.json")).write_text("{")
    assert examine_kvm(cache, device=device).usable
    assert probes.asked == ["program", "program"]


def test_the_boot_sector_is_one() -> None:
    assert len(kvm_probe.boot_sector()) == 512
    assert kvm_probe.boot_sector()[-2:] == b"\x55\xaa"


def test_the_test_program_runs_to_its_end_under_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_probe, "PROGRAM_TIMEOUT_S", 30.0)
    assert kvm_probe.program_problem("tcg") is None


def test_a_kernel_that_is_none_is_told_from_one_that_hangs(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"not a kernel" * 100)
    assert "invalid kernel header" in (kvm_probe.kernel_problem(kernel, "tcg") or "")
