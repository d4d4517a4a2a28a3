"""Hardware virtualisation or emulation: which one, and why."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import HypervisorError, Problem
from harness.hypervisor import kvm_probe
from harness.hypervisor.qemu_user import QemuUser, cure, described
from harness.lacking import Lacking, as_error, no_kvm, no_kvm_as_required
from harness.steps import Spent, step

DEVICE = Path("/dev/kvm")

# A probe can fail because the machine is drowning in work; another day it may not.
_REFUSAL_LASTS_S = 24 * 3600


@dataclass(frozen=True)
class Kvm:
    """What is known of KVM here.

    `proven` means that the guest's kernel was tried, or that there is no point in trying. What is
    neither usable nor proven cannot be tried by this user. `reason` names the device where KVM is
    unusable, and `cure` is what changes that on this host: "" if nothing is known to.
    """

    usable: bool
    proven: bool
    reason: str
    cure: str = ""


@dataclass(frozen=True)
class Choice:
    """The accelerator for guests, the reason, and what to warn the user of, if anything.

    `lacking` is KVM, if it was wanted and does not work.
    """

    accel: Literal["kvm", "tcg"]
    reason: str
    warning: str | None = None
    lacking: Lacking | None = None


def choose(
    wanted: Literal["auto", "kvm", "tcg"],
    cache: Path,
    *,
    kernel: Path | None = None,
    device: Path = DEVICE,
    required: bool = False,
    user: QemuUser | None = None,
) -> Choice:
    """The accelerator to use where `wanted` was asked for, and KVM perhaps `required`.

    Raises HarnessError if KVM was demanded and does not work, or is required and does not work or
    cannot be tried. `cache`, `kernel`, `device` and `user` are as for `examine_kvm`.
    """
    if wanted == "tcg" and not required:
        return Choice("tcg", "emulation (TCG), as configured")
    again = wanted == "kvm" or required
    kvm = examine_kvm(cache, kernel=kernel, device=device, user=user, again=again)
    if required and (lacking := lacking_as_required(kvm)):
        raise as_error(lacking)
    if kvm.usable:
        return Choice("kvm", kvm.reason)
    if wanted == "kvm" and not kvm.proven:
        return Choice("kvm", "KVM, as configured; this user may not try it")
    if wanted == "kvm":
        emulated = "'auto' or 'tcg' use emulation, which is slower and needs nothing"
        raise HypervisorError(
            f"KVM is demanded (--accel kvm), but {kvm.reason}",
            hint="; ".join(filter(None, [kvm.cure, emulated])),
        )
    return Choice(
        "tcg",
        f"KVM: {kvm.reason}",
        warning=f"KVM: {kvm.reason}; guests are emulated (TCG), many times slower. "
        "Timing budgets hold all the same; throughput is that of the emulation",
        lacking=no_kvm(kvm.reason, kvm.cure, untried=not kvm.proven),
    )


def lacking_as_required(kvm: Kvm) -> Lacking | None:
    """What a run that requires KVM lacks: KVM must be seen to work."""
    return None if kvm.usable else no_kvm_as_required(kvm.reason, kvm.cure)


def examine_kvm(
    cache: Path,
    *,
    kernel: Path | None = None,
    device: Path = DEVICE,
    user: QemuUser | None = None,
    again: bool = False,
) -> Kvm:
    """Whether KVM runs guests here, found out by running some; 13 s at most, then remembered.

    Without `kernel`, the guest's kernel, only a small test program is run. The answer is kept
    in the directory `cache` for this host kernel, CPU, QEMU, guest kernel and device. `again`
    does not believe a refusal that was kept: who insists on KVM may just have repaired it.
    `user` is the one who runs QEMU, if it is not this one.
    """
    if problem := _device_problem(device, user):
        return Kvm(usable=False, proven=True, reason=problem.cause, cure=problem.cure)
    if user is not None and _cannot_try(device, user):
        return Kvm(
            usable=False,
            proven=False,
            reason=f"{device} is accessible by {user.name}, who runs QEMU, and not by this user, "
            "who cannot try it",
            cure=_own_cure(device, device.stat()),
        )
    unfit = _remembered(_record(cache, device, None), kvm_probe.program_problem, again=again)
    if unfit is None and kernel is not None:
        unfit = _remembered(
            _record(cache, device, kernel), lambda: kvm_probe.kernel_problem(kernel), again=again
        )
    if unfit is not None:
        reason = f"{device} is present but unusable: it {unfit}"
        return Kvm(usable=False, proven=True, reason=reason)
    if kernel is None:
        return Kvm(
            usable=True,
            proven=False,
            reason="KVM runs a 64-bit test program; the guest kernel was not tried yet",
        )
    return Kvm(usable=True, proven=True, reason="KVM runs the guest kernel")


def expected(
    wanted: Literal["auto", "kvm", "tcg"],
    cache: Path,
    *,
    kernel: Path | None = None,
    device: Path = DEVICE,
    user: QemuUser | None = None,
) -> Literal["kvm", "tcg"]:
    """What `choose` will most probably choose, without running anything.

    For `auto`, KVM only if it was found to run the test program here before, and was not found to
    fail with `kernel`.
    """
    if wanted != "auto":
        return wanted
    if _device_problem(device, user) or _cannot_try(device, user):
        return "tcg"
    known, problem = _known(_record(cache, device, None))
    if known and problem is None and kernel is not None:
        _, problem = _known(_record(cache, device, kernel))
    return "kvm" if known and problem is None else "tcg"


def _cannot_try(device: Path, user: QemuUser | None) -> bool:
    """Whether only the user who runs QEMU may use the device."""
    return user is not None and not os.access(device, os.R_OK | os.W_OK)


def _device_problem(device: Path, user: QemuUser | None) -> Problem | None:
    """Why the one who runs QEMU cannot open the device, and what helps."""
    try:
        status = device.stat()
    except OSError:
        return Problem(
            f"{device} is missing: the CPU's virtualisation is switched off in the firmware, this "
            "machine is a guest without nesting, or the module kvm_intel or kvm_amd is not loaded",
            "",
        )
    if user is not None:
        if user.may_use(status):
            return None
        who = f"{user.name}, as whom libvirt runs QEMU"
        return Problem(
            f"{device} is not accessible by {who} ({described(status)})",
            cure(user.name, device, status),
        )
    if os.access(device, os.R_OK | os.W_OK):
        return None
    return Problem(
        f"{device} is not accessible by this user ({described(status)})",
        _own_cure(device, status),
    )


def _own_cure(device: Path, status: os.stat_result) -> str:
    """What lets this user open the device. A login has the groups that there were when it began."""
    name = QemuUser(os.geteuid(), os.getegid()).name
    return f"{cure(name, device, status)}; then log in again"


def _record(cache: Path, device: Path, kernel: Path | None) -> Path:
    """Where an answer is kept; its name stands for everything that it depends on."""
    qemu = shutil.which(kvm_probe.QEMU) or kvm_probe.QEMU
    status = device.stat()
    facts: list[object] = [
        platform.release(),
        platform.version(),
        _cpu(),
        qemu,
        (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, os.geteuid()),
        hashlib.sha256(kvm_probe.boot_sector()).hexdigest(),
    ]
    with suppress(OSError):
        # Stands for QEMU's version, and tells two builds of one version apart.
        facts.append((Path(qemu).stat().st_size, Path(qemu).stat().st_mtime_ns))
    if kernel is not None:
        facts.append(hashlib.sha256(kernel.read_bytes()).hexdigest())
    return cache / f"kvm-{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.json"


def _cpu() -> list[str]:
    """The model of the first CPU and what it can do, from /proc/cpuinfo."""
    first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    telling = ("model name", "stepping", "microcode", "flags")
    return [line for line in first.splitlines() if line.startswith(telling)]


def _remembered(file: Path, probe: Callable[[], str | None], *, again: bool) -> str | None:
    """The problem that `probe` finds, from `file` if it was found before.

    With `again` only a good answer counts from there.
    """
    known, problem = _known(file)
    if known and not (problem and again):
        return problem
    with step("Prove KVM by running a guest", Spent.PROVISIONING):
        problem = probe()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as draft:
            json.dump({"problem": problem}, draft)
        Path(draft.name).replace(file)
    return problem


def _known(file: Path) -> tuple[bool, str | None]:
    """Whether an answer is kept there that still counts, and the problem that it names."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # JSON of another shape
        problem: str | None = json.loads(file.read_text(encoding="utf-8"))["problem"]
        if problem is None or time.time() - file.stat().st_mtime < _REFUSAL_LASTS_S:
            return True, problem
    return False, None
