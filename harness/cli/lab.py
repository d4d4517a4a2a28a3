"""What the harness finds here: libvirt, KVM, images, earlier testbeds."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.cli.diagnosis import Diagnosis, Level
from harness.config import Config
from harness.config.uri import is_embedded
from harness.errors import ConfigError, HarnessError, summary
from harness.guest_images.store import BuiltImage
from harness.lacking import no_kvm
from harness.topology import Role

if TYPE_CHECKING:
    from harness.host.folder import Folder
    from harness.host.qemu_host import QemuHost
    from harness.hypervisor.connection import Connection
    from harness.hypervisor.qemu_user import QemuUser
    from harness.hypervisor.trial import Trial

Accel = Literal["auto", "kvm", "tcg"]
# Where libvirt looks for it: bridge_helper in qemu.conf.
_BRIDGE_HELPERS = ("/usr/libexec/qemu-bridge-helper", "/usr/lib/qemu/qemu-bridge-helper")


def images(config: Config, cache: Path) -> tuple[Diagnosis, dict[Role, BuiltImage]]:
    """Whether both images are built; the cache is made if it is missing."""
    from harness.config.image import load_image
    from harness.guest_images.store import ImageStore

    subject = "images"
    try:
        definition = load_image(config.machines.image)
        store = ImageStore(cache, config.machines.mirror)
        found = {role: image for role in Role if (image := store.find(definition, role))}
    except HarnessError as error:
        return Diagnosis(Level.PROBLEM, subject, error.message, error.hint), {}
    if len(found) == len(Role):
        return Diagnosis(Level.OK, subject, f"{definition.name} is built, in {cache}"), found
    missing = " and ".join(role.value for role in Role if role not in found)
    text = f"{definition.name} is not built yet ({missing}); the first run does it"
    fix = "`pathproof images build` does it now"
    return Diagnosis(Level.WARNING, subject, text, fix), found


def acceleration(
    wanted: Accel,
    cache: Path,
    image: BuiltImage | None,
    *,
    required: bool = False,
    user: QemuUser | None = None,
) -> Diagnosis:
    """KVM or emulation, found out by running a guest; remembered. KVM may be `required`.

    `user` is the one who runs QEMU, if it is not this one.
    """
    from harness.hypervisor.accel import examine_kvm, lacking_as_required

    subject = "acceleration"
    if wanted == "tcg":
        return Diagnosis(Level.OK, subject, "TCG (emulation), as configured")
    again = required or wanted == "kvm"
    kernel = image.kernel if image else None
    try:
        kvm = examine_kvm(cache, kernel=kernel, user=user, again=again)
    except HarnessError as error:
        return Diagnosis(Level.PROBLEM, subject, error.message, error.hint)
    if required and (lacking := lacking_as_required(kvm)):
        return Diagnosis(Level.PROBLEM, subject, f"{lacking.reason}; KVM is required", lacking.cure)
    if kvm.usable:
        return Diagnosis(Level.OK, subject, kvm.reason)
    level, fix = Level.WARNING, ""
    if wanted == "auto":
        text = f"{kvm.reason}; TCG (emulation) is the choice, slower and without other effect"
        fix = no_kvm(kvm.reason, kvm.cure, untried=not kvm.proven).cure
    elif kvm.proven:
        emulated = "hypervisor.accel = 'auto' or 'tcg' uses emulation"
        level, fix = Level.PROBLEM, "; ".join(filter(None, [kvm.cure, emulated]))
        text = f"{kvm.reason}, and it is what was asked for"
    else:
        text = f"KVM, as configured: {kvm.reason}"
    return Diagnosis(level, subject, text, fix)


def machines(config: Config, cache: Path, image: BuiltImage | None) -> list[Diagnosis]:
    """Acceleration, libvirt, forks, cables and networks, found out by running a small machine."""
    from harness.hypervisor.elsewhere import accel_of, other_host
    from harness.hypervisor.qemu_user import qemu_user

    wanted, required = config.hypervisor.accel, "kvm" in config.require
    try:
        host = other_host(config.hypervisor.uri)
        there = accel_of(host, wanted) if host is not None else None
    except ConfigError as error:
        return [Diagnosis(Level.PROBLEM, "acceleration", error.message, error.hint)]
    if there is not None:
        return [Diagnosis(Level.OK, "acceleration", there.reason), *libvirt(config, cache)]
    user = qemu_user(config.hypervisor.uri)
    found = acceleration(wanted, cache, image, required=required, user=user)
    works = found.level is Level.OK and wanted != "tcg"
    return [found, *libvirt(config, cache, "kvm" if works else "tcg")]


def libvirt(config: Config, cache: Path, accel: Literal["kvm", "tcg"] = "tcg") -> list[Diagnosis]:
    """Whether libvirt opens, starts a machine as a testbed's, forks it and makes cables.

    All is made in a folder of its own, where a testbed's would be, that is removed again.
    """
    from harness.host.folder import claimed
    from harness.host.qemu_host import qemu_host_for
    from harness.hypervisor.elsewhere import other_host

    subject, uri = "libvirt", config.hypervisor.uri
    found: list[Diagnosis] = []
    try:
        from harness.hypervisor.connection import connect

        host = other_host(uri)
        with (
            claimed("doctor") as folder,
            qemu_host_for(host, config, folder) as qemu_host,
            connect(uri, folder.root, capabilities_cache=cache / "libvirt-capabilities") as opened,
        ):
            versions = ", ".join(f"{name} {number}" for name, number in opened.versions.items())
            found.append(Diagnosis(Level.OK, subject, f"{uri} opens: {versions}"))
            found += _networks(config, qemu_host, opened)
            if host is not None:
                return [*found, Diagnosis(Level.OK, "forks", f"none: {config.cannot_fork}")]
            subject = "a machine"
            if all(one.level is not Level.PROBLEM for one in found):
                found += _tried(config, folder, qemu_host, opened, accel)
    except HarnessError as error:
        return [*found, Diagnosis(Level.PROBLEM, subject, error.message, error.hint)]
    except ImportError as error:
        text = f"libvirt-python: {error}"
        return [Diagnosis(Level.PROBLEM, subject, text, "./bootstrap installs it")]
    return found


def _networks(config: Config, qemu_host: QemuHost, connection: Connection) -> Iterator[Diagnosis]:
    """Each network and bridge that the configuration names, and whether no two are one."""
    from harness.hypervisor.networks import bridges_of, network_problem, require_apart

    bridges = [network.bridge for network in config.networks if network.bridge]
    if bridges and (refused := no_bridges(config.hypervisor.uri)):
        yield Diagnosis(Level.PROBLEM, "bridges", *refused)
    for network in config.networks:
        subject = f"network {network.name}"
        if network.libvirt_network:
            problem = network_problem(connection, network.libvirt_network)
            if problem is not None:
                yield Diagnosis(Level.PROBLEM, subject, problem.message, problem.hint)
            else:
                yield Diagnosis(
                    Level.OK, subject, f"libvirt's network {network.libvirt_network} is active"
                )
        elif network.bridge:
            if bad := qemu_host.bridge_problem(network.bridge, network.mtu or 0):
                yield Diagnosis(Level.PROBLEM, subject, bad.cause, bad.cure)
            elif delay_s := qemu_host.bridge_delay_s(network.bridge):
                yield Diagnosis(
                    Level.WARNING,
                    subject,
                    f"bridge {network.bridge} has spanning tree (STP) on, and keeps what a machine "
                    f"sends for the first {delay_s:g} s",
                    f"as root `ip link set {network.bridge} type bridge stp_state 0`, if no loop "
                    "of cables leads through it",
                )
            else:
                yield Diagnosis(Level.OK, subject, f"bridge {network.bridge} is up")
    try:
        require_apart(config.networks, bridges_of(connection, config.networks))
    except ConfigError as error:
        yield Diagnosis(Level.PROBLEM, "networks", error.message, error.hint)


def no_bridges(uri: str) -> tuple[str, str] | None:
    """Why libvirt puts no machine of this user on a bridge, and what to do; None if it can.

    libvirt needs a helper for it that has the rights of root; Debian installs it without them.
    """
    if not is_embedded(uri) or os.geteuid() == 0 or any(map(_has_rights_of_root, _BRIDGE_HELPERS)):
        return None
    return (
        "with the embedded driver an ordinary user cannot put a machine on a bridge",
        'run as root, or set hypervisor.uri = "qemu:///system" (docs/external.md)',
    )


def _has_rights_of_root(file: str) -> bool:
    try:
        found = Path(file).stat()
    except OSError:
        return False
    return found.st_uid == 0 and bool(found.st_mode & stat.S_ISUID)


def _tried(
    config: Config,
    folder: Folder,
    qemu_host: QemuHost,
    connection: Connection,
    accel: Literal["kvm", "tcg"],
) -> Iterator[Diagnosis]:
    """Start a machine as a testbed's would be, on all networks and bridges at once."""
    from harness.host.folder import Manifest
    from harness.hypervisor.accel import DEVICE
    from harness.hypervisor.domain import destroy_named
    from harness.hypervisor.domain_xml import Bridge, Network
    from harness.hypervisor.qemu_user import qemu_user, slow_start
    from harness.hypervisor.trial import try_machine

    uri, name = config.hypervisor.uri, f"{folder.name}-trial"
    attached = [Network(n.libvirt_network) for n in config.networks if n.libvirt_network]
    bridges = [Bridge(n.bridge) for n in config.networks if n.bridge]
    user = qemu_user(uri)
    if slow := slow_start(user, DEVICE):
        yield Diagnosis(Level.WARNING, "starts", slow.cause, slow.cure)
    # For whoever cleans up after us, before there is a machine.
    folder.write(Manifest(config.name, uri, kept=False, machines={}, domains=(name,)))
    began = time.monotonic()
    try:
        tried = try_machine(
            connection, qemu_host.folder, accel, name=name, attached=[*attached, *bridges]
        )
    finally:
        destroy_named(connection, [name])
        folder.note_ended()
    took_s = time.monotonic() - began
    as_whom = f" as {user.name}" if user is not None else ""
    yield Diagnosis(Level.OK, "a machine", f"starts{as_whom} and is tried within {took_s:.1f} s")
    if connection.is_embedded:
        yield _forks(config, tried.fork)
    else:
        yield Diagnosis(Level.OK, "forks", f"none: {config.cannot_fork}")
    yield _cables(tried)


def _forks(config: Config, problem: HarnessError | None) -> Diagnosis:
    subject = "forks"
    if problem is None:
        not_used = f"; not used, since {config.cannot_fork}" if config.cannot_fork else ""
        return Diagnosis(Level.OK, subject, f"a machine was saved and restored, and runs{not_used}")
    if config.cannot_fork:
        text = f"{summary(problem)}; not used, since {config.cannot_fork}"
        return Diagnosis(Level.WARNING, subject, text, problem.hint)
    level = Level.PROBLEM if "forks" in config.require else Level.WARNING
    text = f"{summary(problem)}; without forks each testbed is booted, which takes longer"
    return Diagnosis(level, subject, text, problem.hint)


def _cables(tried: Trial) -> Diagnosis:
    subject = "cables"
    if tried.cable is not None:
        return Diagnosis(Level.PROBLEM, subject, summary(tried.cable), tried.cable.hint)
    return Diagnosis(Level.OK, subject, "a machine sends through one")


def earlier_testbeds() -> list[Diagnosis]:
    """Testbeds that exist already, and those whose owner is gone."""
    from harness.cli.testbeds import State, state_of
    from harness.host.folder import all_folders

    subject = "earlier testbeds"
    try:
        states = {folder.name: state_of(folder) for folder in all_folders()}
    except HarnessError as error:
        return [Diagnosis(Level.PROBLEM, subject, error.message, error.hint)]
    diagnoses = []
    for name, state in states.items():
        match state:
            case State.LEFT:
                fix = "the next run removes it, and so does `pathproof down`"
                diagnoses.append(Diagnosis(Level.WARNING, subject, f"{name}: left behind", fix))
            case State.UNREADABLE:
                fix = f"`pathproof down {name}` says why; no run touches it"
                diagnoses.append(Diagnosis(Level.WARNING, subject, f"{name}: {state}", fix))
            case State.KEPT | State.ENDED:
                fix = f"`pathproof down {name}` when you are done with it"
                diagnoses.append(Diagnosis(Level.WARNING, subject, f"{name}: {state}", fix))
            case State.IN_USE:
                diagnoses.append(
                    Diagnosis(Level.OK, subject, f"{name}: in use by a running process")
                )
    return diagnoses or [Diagnosis(Level.OK, subject, "none")]
