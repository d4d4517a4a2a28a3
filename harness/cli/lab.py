"""What the harness finds here: libvirt, KVM, images, earlier testbeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.cli.finding import Finding, Level
from harness.config import Config
from harness.errors import HarnessError, summary
from harness.hypervisor.image import BuiltImage
from harness.lacking import no_kvm, no_kvm_as_required
from harness.topology import Role

if TYPE_CHECKING:
    from harness.hypervisor.trial import Trial

Accel = Literal["auto", "kvm", "tcg"]


def images(config: Config, cache: Path) -> tuple[Finding, dict[Role, BuiltImage]]:
    """Whether both images are built; the cache is made if it is missing."""
    from harness.config.image import load_image
    from harness.hypervisor.image import ImageStore

    subject = "images"
    try:
        definition = load_image(config.machines.image)
        store = ImageStore(cache, config.machines.mirror)
        found = {role: image for role in Role if (image := store.find(definition, role))}
    except HarnessError as error:
        return Finding(Level.PROBLEM, subject, error.message, error.hint), {}
    if len(found) == len(Role):
        return Finding(Level.OK, subject, f"{definition.name} is built, in {cache}"), found
    missing = " and ".join(role.value for role in Role if role not in found)
    text = f"{definition.name} is not built yet ({missing}); the first run does it"
    fix = "`pathproof images build` does it now"
    return Finding(Level.WARNING, subject, text, fix), found


def acceleration(
    wanted: Accel, cache: Path, image: BuiltImage | None, *, required: bool = False
) -> Finding:
    """KVM or emulation, found out by running a guest; remembered. KVM may be `required`."""
    from harness.hypervisor.accel import examine_kvm

    subject = "acceleration"
    if wanted == "tcg":
        return Finding(Level.OK, subject, "TCG (emulation), as configured")
    try:
        kvm = examine_kvm(cache, kernel=image.kernel if image else None)
    except HarnessError as error:
        return Finding(Level.PROBLEM, subject, error.message, error.hint)
    if kvm.usable:
        return Finding(Level.OK, subject, kvm.reason)
    if required:
        lacking = no_kvm_as_required(kvm.reason)
        return Finding(Level.PROBLEM, subject, f"{lacking.reason}; KVM is required", lacking.cure)
    if wanted == "kvm":
        fix = "configure hypervisor.accel = 'auto' or 'tcg'"
        return Finding(Level.PROBLEM, subject, f"{kvm.reason}, and it is what was asked for", fix)
    text = f"{kvm.reason}; TCG (emulation) is the choice, slower and without other effect"
    return Finding(Level.WARNING, subject, text, no_kvm(kvm.reason).cure)


def machines(config: Config, cache: Path, image: BuiltImage | None) -> list[Finding]:
    """Acceleration, libvirt, forks and cables, each found out by running a small machine."""
    required = "kvm" in config.require
    found = acceleration(config.hypervisor.accel, cache, image, required=required)
    works = found.level is Level.OK and config.hypervisor.accel != "tcg"
    return [found, *libvirt(config, cache, "kvm" if works else "tcg")]


def libvirt(config: Config, cache: Path, accel: Literal["kvm", "tcg"] = "tcg") -> list[Finding]:
    """Whether libvirt opens, forks and makes cables, at a root of its own that is removed again."""
    from harness.testbed.folder import claimed

    subject, uri = "libvirt", config.hypervisor.uri
    try:
        from harness.hypervisor.connection import connect
        from harness.hypervisor.trial import try_machine

        with (
            claimed("doctor") as folder,
            connect(uri, folder.root, capabilities_cache=cache / "libvirt-capabilities") as opened,
        ):
            versions = ", ".join(f"{name} {number}" for name, number in opened.versions.items())
            opens = Finding(Level.OK, subject, f"{uri} opens: {versions}")
            if not opened.is_embedded:
                return [opens, Finding(Level.OK, "forks", f"none: {config.cannot_fork}")]
            tried = try_machine(opened, folder.path, accel)
    except HarnessError as error:
        return [Finding(Level.PROBLEM, subject, error.message, error.hint)]
    except ImportError as error:
        text = f"libvirt-python: {error}"
        return [Finding(Level.PROBLEM, subject, text, "./bootstrap installs it")]
    return [opens, _forks(config, tried.fork), _cables(tried)]


def _forks(config: Config, problem: HarnessError | None) -> Finding:
    subject = "forks"
    if problem is None:
        not_used = f"; not used, since {config.cannot_fork}" if config.cannot_fork else ""
        return Finding(Level.OK, subject, f"a machine was saved and restored, and runs{not_used}")
    if config.cannot_fork:
        text = f"{summary(problem)}; not used, since {config.cannot_fork}"
        return Finding(Level.WARNING, subject, text, problem.hint)
    level = Level.PROBLEM if "forks" in config.require else Level.WARNING
    text = f"{summary(problem)}; without forks each testbed is booted, which takes longer"
    return Finding(level, subject, text, problem.hint)


def _cables(tried: Trial) -> Finding:
    subject = "cables"
    if tried.cable is not None:
        return Finding(Level.PROBLEM, subject, summary(tried.cable), tried.cable.hint)
    return Finding(Level.OK, subject, "a machine sends through one")


def earlier_testbeds() -> list[Finding]:
    """What there is already, and what of it nobody owns."""
    from harness.cli.testbeds import State, state_of
    from harness.testbed.folder import all_folders

    subject = "earlier testbeds"
    try:
        states = {folder.name: state_of(folder) for folder in all_folders()}
    except HarnessError as error:
        return [Finding(Level.PROBLEM, subject, error.message, error.hint)]
    findings = []
    for name, state in states.items():
        match state:
            case State.LEFT:
                fix = "the next run removes it, and so does `pathproof down`"
                findings.append(Finding(Level.WARNING, subject, f"{name}: left behind", fix))
            case State.UNREADABLE:
                fix = f"`pathproof down {name}` says why; no run touches it"
                findings.append(Finding(Level.WARNING, subject, f"{name}: {state}", fix))
            case State.KEPT | State.ENDED:
                fix = f"`pathproof down {name}` when you are done with it"
                findings.append(Finding(Level.WARNING, subject, f"{name}: {state}", fix))
            case State.IN_USE:
                findings.append(Finding(Level.OK, subject, f"{name}: in use by a running process"))
    return findings or [Finding(Level.OK, subject, "none")]
