"""Where a testbed lives on this host, who owns it, and cleaning up after owners that died.

    /var/tmp/pathproof-UID/NAME-abc123/    (mode 0700)
        lock            flock'd by the owner; the kernel releases it when the owner dies
        testbed.json    what is needed to reach the machines, and whether to keep them
        libvirt/        the embedded libvirt's private root
        *.qcow2, *.log  disks and consoles, unless the machines run on another host

/var/tmp and not /tmp, which may be memory; not the home folder, whose path may be too long
for libvirt's sockets.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from harness.errors import ConfigError, HarnessError
from harness.locks import locked_file, locked_folder, try_lock
from harness.units import GIB, format_size

_MANIFEST = "testbed.json"
_LOCK = "lock"
_ROOT = "libvirt"
SLOTS = ".slots"
CALLOUTS = ".callouts"  # harness.faults.callout_records
NEEDED = 2 * GIB  # two overlays that grow, and what tests write to the LUN


@dataclass(frozen=True)
class Address:
    """How to log in to a machine from this host.

    `port` is of the hypervisor's 127.0.0.1; `proxy` the command that connects to it from here.
    """

    port: int
    private_key: str
    host_key: str
    proxy: tuple[str, ...] = ()


def _address(port: int, private_key: str, host_key: str, proxy: Iterable[str] = ()) -> Address:
    """An address as JSON has it, also from before there were proxies."""
    return Address(port, private_key, host_key, tuple(proxy))


@dataclass(frozen=True)
class Manifest:
    """What another process must know of a testbed.

    `domains` may be running; it is written before they are started and after they are gone.
    `networks` maps a name to the addresses at both ends; `memory` is in bytes, of all machines.
    """

    name: str
    uri: str
    kept: bool
    machines: dict[str, Address]
    domains: tuple[str, ...] = ()
    networks: dict[str, str] = field(default_factory=dict)
    memory: int = 0


class UnreadableManifest(HarnessError):
    """Nothing tells what a testbed consists of: it may be on another host, so it is left alone."""


@dataclass(frozen=True)
class Folder:
    """The folder of one testbed."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def root(self) -> Path:
        """The embedded libvirt's root."""
        return self.path / _ROOT

    def write(self, manifest: Manifest) -> None:
        """Write the manifest, at once or not at all."""
        draft = self.path / f"{_MANIFEST}.new"
        draft.write_text(json.dumps(asdict(manifest), indent=2))
        draft.rename(self.path / _MANIFEST)

    def manifest(self) -> Manifest | None:
        """The manifest, or None if the owner died before it wrote one. Raises UnreadableManifest.

        It is replaced at once, so one that cannot be read is another version's, or damaged.
        """
        file = self.path / _MANIFEST
        try:
            raw = json.loads(file.read_text())
            machines = {name: _address(**address) for name, address in raw.pop("machines").items()}
            return Manifest(**raw | {"machines": machines, "domains": tuple(raw["domains"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # any content
            raise UnreadableManifest(
                f"{file} cannot be read, so it is unknown where its machines run: {error!r}",
                hint=f"make sure that none of them runs any more, then remove {self.path}",
            ) from None

    def note_ended(self) -> None:
        """Note that none of its machines runs any more."""
        manifest = self.manifest()
        if manifest is not None:
            self.write(replace(manifest, domains=()))

    @property
    def claimed_at(self) -> float:
        """When it was made, as time.time() has it."""
        file = self.path / _LOCK
        return (file if file.exists() else self.path).stat().st_mtime

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Own the folder for the length of the block; False if a living process owns it."""
        try:
            lock = (self.path / _LOCK).open("rb")
        except FileNotFoundError:  # its maker died before there was one
            yield True
            return
        with lock:
            yield try_lock(lock)

    def remove(self) -> bool:
        """Remove it, the lock last: until then, whoever finds the folder finds it owned.

        False if somebody else did, who came when the lock was gone.
        """
        with suppress(FileNotFoundError):  # somebody else removed it when it was empty
            for path in self.path.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != _LOCK:
                    path.unlink()
            (self.path / _LOCK).unlink(missing_ok=True)
            self.path.rmdir()
            return True
        return False

    def owned(self) -> bool:
        """Whether a living process owns it."""
        with self.taken() as free:
            return not free


def cache_folder() -> Path:
    """Where images and what is known of this host are kept between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "pathproof"


def stated_base() -> Path | None:
    """The folder of this user's testbeds, if PATHPROOF_STATE names one."""
    stated = os.environ.get("PATHPROOF_STATE")
    return Path(stated) if stated else None


def base() -> Path:
    """The folder of all of this user's testbeds, made if missing.

    Raises ConfigError if it is not this user's own.
    """
    path = stated_base() or Path(f"/var/tmp/pathproof-{os.getuid()}")  # noqa: S108  # private by mode and owner
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", hint="name another folder for testbeds in PATHPROOF_STATE"
        ) from None
    if status.st_uid != os.getuid() or not path.is_dir() or path.is_symlink():
        raise ConfigError(
            f"{path} belongs to another user",
            hint="name another folder for testbeds in PATHPROOF_STATE",
        )
    return path


def all_folders() -> list[Folder]:
    """Every testbed folder of this user, owned or left behind."""
    with _undisturbed():
        return [
            Folder(path)
            for path in sorted(base().iterdir())
            if path.is_dir() and path.name not in {SLOTS, CALLOUTS}
        ]


def _undisturbed() -> AbstractContextManager[None]:
    """No folder is made meanwhile: one that is there has its lock, or its maker is dead."""
    return locked_folder(base())


@contextmanager
def claimed(name: str) -> Iterator[Folder]:
    """A new folder owned by this process, removed at the end of the block unless kept.

    It stays, for `reap`, if machines of it could not be ended.
    """
    if (free := shutil.disk_usage(base()).free) < NEEDED:
        raise ConfigError(
            f"{base()}: {format_size(free)} free, and a testbed needs {format_size(NEEDED)}",
            hint="free some space, or name another folder for testbeds in PATHPROOF_STATE",
        )
    folder = Folder(base() / f"{name}-{secrets.token_hex(3)}")
    with ExitStack() as owned:
        with _undisturbed():
            folder.path.mkdir(mode=0o700)
            owned.enter_context(locked_file(folder.path / _LOCK))
        try:
            yield folder
        finally:
            manifest = folder.manifest()
            if manifest is None or not (manifest.kept or manifest.domains):
                folder.remove()


def reap(
    end_domains: Callable[[Folder], None], *, kept_too: bool = False, name: str | None = None
) -> list[str]:
    """End and remove every testbed whose owner is dead; returns their names.

    Kept testbeds are spared unless `kept_too`, and those whose manifest cannot be read in any
    case; `name` restricts it to one. `end_domains` must end all domains of a folder. Raises
    HarnessError, after trying all, for those that failed.
    """
    reaped, failures = [], []
    for folder in all_folders():
        if name and folder.name != name:
            continue
        with folder.taken() as free:
            if not free or not folder.path.exists():
                continue
            try:
                manifest = folder.manifest()
                kept = manifest is not None and manifest.kept
                if kept and not kept_too:
                    continue
                if manifest is not None and kept:  # so that the next one ends it if we are killed
                    folder.write(replace(manifest, kept=False))
                end_domains(folder)
                if folder.remove():
                    reaped.append(folder.name)
            except (HarnessError, OSError) as error:
                failures.append(f"{folder.name}: {error}")
    if failures:
        raise HarnessError("testbeds left behind could not be removed:\n" + "\n".join(failures))
    return reaped
