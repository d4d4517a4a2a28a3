"""Where the hypervisor reads images and writes disks: on this host, or on the one of its URI.

QEMUs that run as this user on this host read the cache and write into the testbed's folder. For
others, and on another host, where only what `ssh` starts is run:

    ~/.cache/pathproof/libvirt/             for qemu+ssh://…/session, or below XDG_CACHE_HOME there
    /var/tmp/pathproof-libvirt-UID/         for …/system, whose QEMUs may enter it; on this host
                                            PATHPROOF_STATE-libvirt if that is set
        images/FINGERPRINT-BUILD/           copied once; unused for two weeks, they are removed
        testbeds/NAME-abc123/               *.qcow2, *.log, removed with the testbed

libvirt gives each file of a guest to QEMU's user (`dynamic_ownership` in qemu.conf) and gives
back only the topmost disk (virSecurityDACSetImageLabel in libvirt's security_dac.c): an image
that an overlay reads through to stays with QEMU's user. So the cache is never lent to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from harness.config import Config
from harness.config.uri import is_of_this_host, is_system
from harness.errors import HypervisorError, Problem
from harness.guest_images.store import BuiltImage
from harness.host.folder import Folder, Manifest, stated_base
from harness.hypervisor.connection import Connection, connect
from harness.hypervisor.disk import create_disk, create_overlay, disk_argv, overlay_argv
from harness.hypervisor.domain import destroy_named, last_lines
from harness.hypervisor.elsewhere import OtherHost
from harness.hypervisor.ports import CANDIDATES, PORTS_IN_USE, free_candidates
from harness.machine.hypervisor_host import HypervisorHost
from harness.machine.remote import OPTIONS, RemoteHost
from harness.steps import Spent, step
from harness.topology import Role, plan

KEPT_DAYS = 14
_CONSOLE_LINES = 20

_LOOK = """
umask 022
case $1 in
    system) base=${3:-/var/tmp/pathproof-libvirt-$(id -u)} mode=711 ;;
    *) base=${XDG_CACHE_HOME:-$HOME/.cache}/pathproof/libvirt mode=700 ;;
esac
mkdir -p "$base"
if test -L "$base" || ! test -O "$base"; then
    echo "$base belongs to another user" >&2
    exit 1
fi
chmod "$mode" "$base"
cd "$base"
mkdir -p images testbeds
find images -mindepth 1 -maxdepth 1 -mtime "+$2" -exec rm -rf {} +
pwd -P
"""

_SIZES = """
touch -c "$1"
cd "$1"
shift
stat --printf '%n %s\\n' -- "$@"
"""

# The consoles are there before libvirt's log daemon opens them: a file that it makes is for root
# alone (mode 0600), and the end of a console is what tells why a machine did not boot.
_MAKE_FOLDER = """
umask 022
mkdir --mode=755 -- "$1"
cd "$1"
shift
touch -- "$@"
"""

# If the folder is there, it lacks a file: somebody tidied up.
_UNPACK = """
umask 022
cd "${1%/*}"
draft=$(mktemp -d draft-XXXXXX)
trap 'rm -rf "$draft"' EXIT
chmod 755 "$draft"
tar --extract --no-same-owner --directory="$draft" --file=-
mv -T "$draft" "$1" 2>/dev/null || mv -f "$draft"/* "$1"
"""


def console_name(machine: str) -> str:
    """The file of a machine's serial console."""
    return f"{machine}-console.log"


class QemuHost(Protocol):
    """What is needed of the host where QEMU runs; all paths are of that host."""

    @property
    def folder(self) -> Path:
        """The testbed's own."""

    def put(self, image: BuiltImage) -> BuiltImage:
        """The same image with files that QEMU can read; `image` is on this host."""

    def make_overlay(self, path: Path, image: BuiltImage) -> None:
        """Make `path` a qcow2 disk that reads through to the image's."""

    def make_disk(self, path: Path, size_bytes: int) -> None:
        """Make `path` an empty qcow2 disk."""

    def takes_direct_io(self, folder: Path) -> bool:
        """Whether files there can be opened with O_DIRECT, which is tried."""

    def bridge_problem(self, name: str, mtu: int = 0) -> Problem | None:
        """What keeps machines from a bridge of that name there; None if nothing does."""

    def bridge_delay_s(self, name: str) -> float:
        """For how long a machine that is new on a bridge there is not heard; 0 if at once."""

    def port_candidates(self) -> Sequence[int]:
        """Ports of its 127.0.0.1 that may be free."""

    def proxy(self, port: int) -> tuple[str, ...]:
        """The command that connects to a port of its 127.0.0.1; empty if none is needed."""

    def tail(self, file: Path, lines: int = _CONSOLE_LINES) -> str:
        """The last lines of a file, as far as it can be read."""


@dataclass(frozen=True)
class OwnQemuHost:
    """This host, for QEMUs that run as this user."""

    folder: Path

    def put(self, image: BuiltImage) -> BuiltImage:
        return image

    def make_overlay(self, path: Path, image: BuiltImage) -> None:
        create_overlay(path, image.disk, "raw")

    def make_disk(self, path: Path, size_bytes: int) -> None:
        create_disk(path, size_bytes)

    def takes_direct_io(self, folder: Path) -> bool:
        return HypervisorHost().takes_direct_io(folder)

    def bridge_problem(self, name: str, mtu: int = 0) -> Problem | None:
        return HypervisorHost().bridge_problem(name, mtu)

    def bridge_delay_s(self, name: str) -> float:
        return HypervisorHost().bridge_delay_s(name)

    def port_candidates(self) -> Sequence[int]:
        return CANDIDATES

    def proxy(self, port: int) -> tuple[str, ...]:
        return ()

    def tail(self, file: Path, lines: int = _CONSOLE_LINES) -> str:
        return last_lines(file, lines)


@dataclass(frozen=True)
class ForeignQemuHost:
    """The host of QEMUs of another user, or on another machine; their files are below `base`."""

    machine: HypervisorHost
    base: Path
    folder: Path

    def put(self, image: BuiltImage) -> BuiltImage:
        files = (image.disk, image.kernel, image.initrd)
        # A fingerprint is that of the recipe; every build has a host key of its own.
        build = hashlib.sha256(image.host_key.encode()).hexdigest()[:8]
        folder = self.base / "images" / f"{image.fingerprint}-{build}"
        if not self._has(folder, files):
            with step(f"Copy image {folder.name} to {self.machine.name}", Spent.PROVISIONING):
                self._send(folder, files)
        disk, kernel, initrd = (folder / file.name for file in files)
        return replace(image, disk=disk, kernel=kernel, initrd=initrd)

    def make_overlay(self, path: Path, image: BuiltImage) -> None:
        self.machine.run(overlay_argv(path, image.disk, "raw"))

    def make_disk(self, path: Path, size_bytes: int) -> None:
        self.machine.run(disk_argv(path, size_bytes))

    def takes_direct_io(self, folder: Path) -> bool:
        return self.machine.takes_direct_io(folder)

    def bridge_problem(self, name: str, mtu: int = 0) -> Problem | None:
        return self.machine.bridge_problem(name, mtu)

    def bridge_delay_s(self, name: str) -> float:
        return self.machine.bridge_delay_s(name)

    def port_candidates(self) -> Sequence[int]:
        return free_candidates(self.machine.run(PORTS_IN_USE).stdout)

    def proxy(self, port: int) -> tuple[str, ...]:
        return self.machine.tunnel(port)

    def tail(self, file: Path, lines: int = _CONSOLE_LINES) -> str:
        done = self.machine.run(["tail", "-n", str(lines), "--", str(file)], check=False)
        return done.stdout or done.stderr

    def make_folder(self, machines: Sequence[str] = tuple(Role)) -> None:
        consoles = [console_name(machine) for machine in machines]
        self.machine.run(["sh", "-euc", _MAKE_FOLDER, "sh", str(self.folder), *consoles])

    def remove_folder(self) -> None:
        """Nothing happens if there is none."""
        self.machine.run(["rm", "-rf", "--", str(self.folder)])

    def _has(self, folder: Path, files: Sequence[Path]) -> bool:
        names = [file.name for file in files]
        found = self.machine.run(["sh", "-euc", _SIZES, "sh", str(folder), *names], check=False)
        return found.stdout.splitlines() == [f"{f.name} {f.stat().st_size}" for f in files]

    def _send(self, folder: Path, files: Sequence[Path]) -> None:
        archive = [
            *("tar", "--create", "--sparse", "--file=-"),
            *("--mode=u=rw,go=r", "--owner=0", "--group=0"),
            f"--directory={files[0].parent}",
            *("--", *(file.name for file in files)),
        ]
        done = self.machine.pipe(archive, ["sh", "-euc", _UNPACK, "sh", str(folder)])
        if done.status != 0 or not self._has(folder, files):
            raise HypervisorError(
                f"{self.machine.name}: an image did not arrive in {folder}: "
                f"{done.stderr.strip() or 'files are missing or cut short'}",
                hint="is there space left?",
            )


@contextmanager
def reached(host: OtherHost | None, testbed: str) -> Iterator[ForeignQemuHost]:
    """The host of QEMU for the testbed of that name, whose folder is left alone.

    None is this host, for QEMUs that run as a user of their own. Raises MachineError if the host
    cannot be reached, CommandFailed if no folder can be made there.
    """
    machine = HypervisorHost() if host is None else _remote(host)
    kind = "system" if host is None or host.is_system else "session"
    own = stated_base() if host is None else None
    bases = [f"{own.absolute()}-libvirt"] if own else []
    try:
        with step(f"Reach {machine.name}", Spent.PROVISIONING):
            looked = machine.reach(["sh", "-euc", _LOOK, "sh", kind, str(KEPT_DAYS), *bases])
        base = Path(looked.stdout.strip())
        yield ForeignQemuHost(machine, base, base / "testbeds" / testbed)
    finally:
        machine.close()


def _remote(host: OtherHost) -> RemoteHost:
    return RemoteHost(host.name, [*host.ssh, *OPTIONS], host.destination)


@contextmanager
def qemu_host_for(host: OtherHost | None, config: Config, folder: Folder) -> Iterator[QemuHost]:
    """Where the machines of the testbed in `folder` are to run: on `host`, or else on this one.

    What is made there is removed with the block, unless the testbed is kept. Raises as `reached`.
    """
    if host is None and not is_foreign(config.hypervisor.uri):
        yield OwnQemuHost(folder.path)
        return
    with reached(host, folder.name) as qemu_host:
        # Before anything is there: whoever cleans up after us must know where.
        folder.write(Manifest(config.name, config.hypervisor.uri, kept=False, machines={}))
        qemu_host.make_folder(plan(config).guests)
        try:
            yield qemu_host
        finally:
            manifest = folder.manifest()
            if manifest is None or not manifest.kept:
                names = manifest.domains if manifest is not None else ()
                _remove(config.hypervisor.uri, names, folder, qemu_host)


def _remove(uri: str, names: Sequence[str], folder: Folder, qemu_host: ForeignQemuHost) -> None:
    """End a testbed's guests, if it has any, and remove its files."""
    if not names:  # perhaps libvirt never answered
        qemu_host.remove_folder()
        return
    # Not by the run's own connection: Ctrl-C ends the ssh that libvirt started for it.
    with connect(uri, folder.root) as connection:
        end_guests(connection, names, qemu_host)


def is_foreign(uri: str) -> bool:
    """Whether the QEMUs of `uri` cannot use this user's cache and state folders."""
    return is_system(uri) or not is_of_this_host(uri)


def end_guests(connection: Connection, names: Sequence[str], qemu_host: ForeignQemuHost) -> None:
    """Destroy the guests of those names, and remove their files.

    Asked twice: a run that was killed may have left libvirt about to start one, which it does not
    know by name yet. Without its files that fails.
    """
    destroy_named(connection, names)
    qemu_host.remove_folder()
    destroy_named(connection, names)
