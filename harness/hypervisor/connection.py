"""Connections to libvirt: its embedded driver, which needs no daemon and no root, or any URI.

The embedded driver keeps everything below one directory, its root. Measured with libvirt
9.0, and each of these shapes the code that uses it:

- A process can open one root in its whole life. Closing the connection does not give it
  back ("Cannot open embedded driver at path B, already open with path A"), nor does a
  failed attempt ("qemu state driver is not active"). So testbeds that one process serves,
  at once or in turn, share a root and need different domain names; a second root needs a
  second process, as under pytest-xdist. From then on `qemu:///system` fails there, too.
- A root belongs to one process at a time, until that ends.
- Guests outlive the process. Opening the same root again finds them: see `domain.sweep`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.concurrency import within
from harness.config.uri import EMBEDDED, is_embedded, is_system_here
from harness.errors import HypervisorError, TimedOut
from harness.hypervisor.library import library
from harness.steps import Spent, step

# The longest path that libvirt makes below a root is a guest's monitor socket,
# lib/qemu/domain-NUMBER-SHORTNAME/monitor.sock, and unix(7) ends it at 107 characters.
# libvirt cuts SHORTNAME at 20; NUMBER grows by one with every guest of the process.
LONGEST_ROOT = 107 - len("/lib/qemu/domain-9999-" + 20 * "x" + "/monitor.sock")

# Where every libvirt of root keeps what is not below its root (`virIdentityEnsureSystemToken`).
_RUN_FOLDER = Path("/run/libvirt")
_CAPABILITIES = Path("cache/qemu/capabilities")
_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_COUNT = 3


@dataclass(frozen=True)
class Connection:
    """An open connection. `root` holds its log and, for the embedded driver, everything.

    `libvirt` is the virConnect, for `harness.hypervisor` alone.
    """

    uri: str
    root: Path
    libvirt: Any

    @property
    def is_embedded(self) -> bool:
        return is_embedded(self.uri)

    @property
    def versions(self) -> dict[str, str]:
        """The versions of libvirt and QEMU at that end, for the report."""
        return {
            name: f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
            for name, number in (
                ("libvirt", self.libvirt.getLibVersion()),
                ("QEMU", self.libvirt.getVersion()),
            )
        }


@contextmanager
def connect(
    uri: str,
    root: Path,
    *,
    capabilities_cache: Path | None = None,
    timeout_s: float = 20,
) -> Iterator[Connection]:
    """A connection to `uri`, a libvirt URI or EMBEDDED, closed when the block ends.

    `root` is made if it is missing. `capabilities_cache` is a directory, shared by all roots,
    that spares an embedded driver the 2 to 3 s of asking QEMU what it can do. Raises
    HypervisorError naming the URI; within `timeout_s` also if nothing answers there.
    """
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    embedded = uri == EMBEDDED
    with (
        step(f"Connect to libvirt ({uri})", Spent.PROVISIONING),
        library.loaded(root / "libvirt.log"),
    ):
        if embedded:
            opened = _open_embedded(root, capabilities_cache)
        else:
            opened = _open_bounded(uri, timeout_s)
    connection = Connection(_embedded_uri(root) if embedded else uri, root, opened)
    try:
        yield connection
    finally:
        _close(opened)
        if embedded and capabilities_cache is not None:
            _copy_newer(root / _CAPABILITIES, capabilities_cache)


def _open_embedded(root: Path, capabilities_cache: Path | None) -> Any:
    import libvirt

    if len(os.fsencode(root)) > LONGEST_ROOT:
        raise HypervisorError(
            f"libvirt's root {root} is {len(os.fsencode(root))} bytes long, and "
            f"{LONGEST_ROOT} are possible: sockets below it must fit 107",
            hint="keep testbeds in a directory with a shorter path",
        )
    library.require_free_for(root)
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/qemu.conf").write_text(_qemu_conf(privileged=os.geteuid() == 0))
    if capabilities_cache is not None:
        _copy_newer(capabilities_cache, root / _CAPABILITIES)
    if os.geteuid() == 0:
        _make_run_folder(_RUN_FOLDER)
    library.embedded_root = root
    try:
        return libvirt.open(_embedded_uri(root))
    except libvirt.libvirtError as error:
        raise HypervisorError(
            f"libvirt's embedded driver at {root}: {error}", hint=_embedded_hint(error, root)
        ) from error


def _make_run_folder(folder: Path) -> None:
    """Have it as libvirtd makes it, for a libvirtd that comes later.

    The embedded driver would make it with mode 0700, and libvirtd takes one as it is: then
    only root reaches its socket. A folder that is there already stays as it is.
    """
    with suppress(OSError):  # there already, or no folder to make it in: then libvirt says so
        folder.mkdir()
        folder.chmod(0o755)


def _embedded_uri(root: Path) -> str:
    return f"qemu:///embed?root={quote(str(root))}"


def _qemu_conf(*, privileged: bool) -> str:
    """What makes the driver leave the machine alone: no confinement, no daemon, no other user."""
    lines = [
        'security_driver = "none"',
        "namespaces = []",
        "cgroup_controllers = []",
        'stdio_handler = "file"',
    ]
    if privileged:
        # Otherwise QEMU runs as a user who cannot read what root owns.
        lines += ['user = "root"', 'group = "root"', "dynamic_ownership = 0"]
    return "\n".join(lines) + "\n"


def _embedded_hint(error: Exception, root: Path) -> str:
    text = str(error)
    if "Failed to parse user" in text or "Failed to parse group" in text:
        return (
            "run as root, libvirt wants the user libvirt-qemu to exist, although it is not used "
            "here: ./bootstrap makes it; an ordinary user does not need it"
        )
    if "acquire pid file" in text:
        return "another process has this root open; wait for it to end or use another root"
    if "is not active" in text:
        return "an earlier attempt in this process failed, and libvirt makes only one"
    return f"its log is {root / 'libvirt.log'}"


def _open_bounded(uri: str, timeout_s: float) -> Any:
    """Open `uri` in a thread, since libvirt itself waits without end for a silent host."""
    import libvirt

    def attempt() -> Any:
        connection = libvirt.open(uri)
        # Local drivers have no keepalive and say so.
        with suppress(libvirt.libvirtError):
            connection.setKeepAlive(_KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT)
        return connection

    hint = (
        f"does `virsh --connect {uri} version` answer? Debian's packages libvirt-daemon-system and "
        "libvirt-clients bring both; the URI 'embedded' needs no libvirt daemon"
    )
    if is_system_here(uri):
        hint = closed_folder(_RUN_FOLDER) or hint
    try:
        return within(timeout_s, attempt, what=f"open {uri}")
    except TimedOut:
        raise HypervisorError(
            f"{uri}: no answer from libvirt within {timeout_s:.0f} s", hint=hint
        ) from None
    except libvirt.libvirtError as error:
        raise HypervisorError(f"{uri}: {error}", hint=hint) from error


def closed_folder(folder: Path) -> str:
    """What to do if this user cannot come to libvirt's socket in `folder`; empty if it can.

    Seen after libvirt's embedded driver of root had made the folder before libvirtd did.
    """
    if not folder.is_dir() or os.access(folder, os.X_OK):
        return ""
    return (
        f"{folder} is closed to this user, which libvirtd never does: as root `chmod 755 {folder}`"
    )


def _close(opened: Any) -> None:
    """A connection that broke meanwhile is as good as closed."""
    import libvirt

    with suppress(libvirt.libvirtError):
        opened.close()


def _copy_newer(source: Path, destination: Path) -> None:
    """Bring over every file that is missing in `destination` or older there.

    Each appears at once and whole, since other testbeds may read or write there now. The
    copies keep their times: libvirt does not trust a cache that is older than QEMU. It is
    a cache only, so what cannot be copied is left.
    """
    with suppress(OSError):
        destination.mkdir(parents=True, exist_ok=True)
        for file in source.glob("*.xml"):
            existing = destination / file.name
            if existing.exists() and existing.stat().st_mtime >= file.stat().st_mtime:
                continue
            with tempfile.NamedTemporaryFile(dir=destination, delete=False) as copy:
                shutil.copy2(file, copy.name)
            Path(copy.name).replace(existing)
