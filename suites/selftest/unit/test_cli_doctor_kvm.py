"""What the doctor says of KVM: here, on another host, and for the user of QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import lab
from harness.cli.diagnosis import Diagnosis, Level
from harness.config import Config
from harness.hypervisor import accel
from harness.hypervisor.accel import Kvm

UNUSABLE = Kvm(usable=False, proven=True, reason="/dev/kvm is present but unusable: it hangs")


def test_unusable_kvm_is_named_and_tcg_is_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning, unless KVM was demanded."""
    monkeypatch.setattr(accel, "examine_kvm", lambda *_, **__: UNUSABLE)
    diagnosis = lab.acceleration("auto", tmp_path, None)
    assert diagnosis.level is Level.WARNING
    assert diagnosis.text.startswith("/dev/kvm is present but unusable: it hangs; TCG")
    assert "use a host where KVM works; `--accel tcg` says" in diagnosis.fix
    demanded = lab.acceleration("kvm", tmp_path, None)
    emulated = "hypervisor.accel = 'auto' or 'tcg' uses emulation"
    assert (demanded.level, demanded.fix) == (Level.PROBLEM, emulated)
    assert lab.acceleration("tcg", tmp_path, None).level is Level.OK


CLOSED = Kvm(usable=False, proven=True, reason="/dev/kvm is closed", cure="open it")


def test_what_makes_kvm_usable_here_is_the_fix_however_kvm_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not another host, where this one can be put right."""
    monkeypatch.setattr(accel, "examine_kvm", lambda *_, **__: CLOSED)
    wanted: tuple[lab.Accel, ...] = ("auto", "kvm")
    found = [lab.acceleration(one, tmp_path, None) for one in wanted]
    found.append(lab.acceleration("auto", tmp_path, None, required=True))
    assert [one.text.partition(";")[0].partition(",")[0] for one in found] == [
        "/dev/kvm is closed"
    ] * 3
    assert [one.fix for one in found] == [
        "open it; `--accel tcg` says that emulation is wanted",
        "open it; hypervisor.accel = 'auto' or 'tcg' uses emulation",
        "open it, or leave `kvm` out of what is required",
    ]


def test_kvm_of_another_host_is_not_judged_by_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor says what the run says."""
    monkeypatch.setattr(lab, "libvirt", lambda *_: [])

    def found(wanted: str) -> Diagnosis:
        hypervisor = {"uri": "qemu+ssh://rack1/system", "accel": wanted}
        (one,) = lab.machines(Config.model_validate({"hypervisor": hypervisor}), tmp_path, None)
        return one

    assert found("kvm") == Diagnosis(Level.OK, "acceleration", "KVM on rack1, as configured")
    assert found("auto").level is Level.PROBLEM
    assert found("auto").fix == "write 'kvm' if it is known to work there, else 'tcg' (emulation)"


def test_kvm_that_only_qemus_user_may_use_is_believed_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who demands it may know, and it cannot be tried."""
    untried = Kvm(usable=False, proven=False, reason="/dev/kvm is accessible by x, and not by us")
    asked: list[bool] = []

    def examine(*_: object, again: bool, **__: object) -> Kvm:
        asked.append(again)
        return untried

    monkeypatch.setattr(accel, "examine_kvm", examine)
    demanded = lab.acceleration("kvm", tmp_path, None)
    assert (demanded.level, demanded.text) == (
        Level.WARNING,
        "KVM, as configured: /dev/kvm is accessible by x, and not by us",
    )
    assert lab.acceleration("auto", tmp_path, None).text.endswith("without other effect")
    insisting: tuple[lab.Accel, ...] = ("auto", "kvm")
    for wanted in insisting:
        assert lab.acceleration(wanted, tmp_path, None, required=True).level is Level.PROBLEM
    assert asked == [True, False, True, True]


def test_a_kvm_that_is_required_and_does_not_work_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accel, "examine_kvm", lambda *_, **__: UNUSABLE)
    monkeypatch.setattr(lab, "libvirt", lambda *_: [])
    (found,) = lab.machines(Config(), tmp_path, None)
    assert found.level is Level.WARNING
    (found,) = lab.machines(Config.model_validate({"require": "kvm"}), tmp_path, None)
    assert found == Diagnosis(
        Level.PROBLEM,
        "acceleration",
        "/dev/kvm is present but unusable: it hangs; KVM is required",
        "use a host where KVM works, or leave `kvm` out of what is required",
    )
