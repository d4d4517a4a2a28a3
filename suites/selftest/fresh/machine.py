"""A machine that has nothing: a minimal root of this host's own release, with the checkout in it.

What runs in it shares the kernel, the network and the devices of this host. Of its files it sees
only what any machine is set up with: where packages come from (apt, pip, npm), whom to trust, and
what was downloaded before, so that it is not downloaded again. Nothing that was built or installed
is among that.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from harness.fleet.parcel import pack, working_tree
from harness.hypervisor.image_sources import apt_options, copy_keyrings, package_sources
from harness.testbed.folder import cache_folder

TOP = Path(__file__).resolve().parents[3]
CHECKOUT = "/srv/pathproof"

# How this host reaches its package sources; copied to the same place if they are there.
_SETTINGS = (
    "/etc/apt/auth.conf",
    "/etc/apt/auth.conf.d",
    "/etc/hosts",
    "/etc/npmrc",
    "/etc/pip.conf",
    "/etc/resolv.conf",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/xdg/pip",
    "/usr/local/share/ca-certificates",
)
_SETTINGS_AT_HOME = (".config/pip", ".npmrc", ".pip")
_VARIABLES = re.compile(
    r"(pip_(?!cache).*|npm_config_.*|.*_proxy|ssl_cert_file|requests_ca_bundle|node_extra_ca_certs)",
    re.IGNORECASE,
)

# A root is entered by pivot_root, since chroot alone takes the right to make user namespaces
# away (user_namespaces(7)). The first process of the new PID namespace is a shell that stays: it
# takes leave of what others leave behind, and with it all the others end, guests too.
_UNSHARE = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child")
_ENTER = """\
set -eu
root=$1 binds=$2
shift 2
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lock run/before
printf '%s\\n' "$binds" | while IFS='\t' read -r access from to; do
    mkdir -p ".$to"
    mount --bind "$from" ".$to"
    mount -o "remount,bind,$access" ".$to"
done
pivot_root . run/before
exec chroot . /bin/sh -euc 'umount -l /run/before; cd "$0"; "$@"; exit' "$@"
"""


def missing() -> str:
    """Why no fresh machine can be made here; empty if one can."""
    if platform.freedesktop_os_release().get("ID") != "debian":
        return "needs a host with Debian, whose release the fresh machine has"
    if os.geteuid() != 0:
        return "needs root, to enter another root with the devices of this one"
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed (Debian: mmdebstrap)"
    return ""


class Bind(NamedTuple):
    """A folder of this host that is seen in there."""

    access: Literal["ro", "rw"]
    here: Path
    there: str


@dataclass(frozen=True)
class FreshMachine:
    """A root that can be entered, again and again."""

    root: Path
    binds: Sequence[Bind]

    def run(self, argv: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout, as root; both streams in one, in order."""
        binds = "\n".join("\t".join(map(str, bind)) for bind in self.binds)
        return subprocess.run(
            [*_UNSHARE, "sh", "-c", _ENTER, "sh", self.root, binds, CHECKOUT, *argv],
            env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def file(self, path: str) -> Path:
        """Where this host finds what is `path` in there."""
        return self.root / path.lstrip("/")


@contextmanager
def fresh_machine() -> Iterator[FreshMachine]:
    """A machine as it comes from the installer, only smaller; removed at the end of the block."""
    cache = cache_folder() / "fresh"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock, ExitStack() as made:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would write the same archives
        today = _todays(cache)
        root = Path(tempfile.mkdtemp(prefix="pathproof-fresh-", dir="/var/tmp"))
        made.callback(_remove, root)
        subprocess.run(["tar", "-C", root, "-xf", _base(today)], check=True)
        _set_up(root)
        code = pack("checkout", TOP, working_tree(TOP))
        checkout = root / CHECKOUT.lstrip("/")
        checkout.mkdir()
        subprocess.run(["tar", "-C", checkout, "-x"], input=code.archive, check=True)
        yield FreshMachine(root, _downloads(today))


def _todays(cache: Path) -> Path:
    """What of today is kept of the host's release; of other days nothing is."""
    today = cache / f"{_release()}-{datetime.now(UTC).date()}"
    for kept in cache.iterdir():
        if kept.is_dir() and kept != today:
            shutil.rmtree(kept)
    today.mkdir(exist_ok=True)
    return today


def _release() -> str:
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _remove(root: Path) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", root], check=True)


def _base(today: Path) -> Path:
    """The minimal root of this host's release, as a tar archive."""
    base = today / "base.tar"
    if not base.exists():
        draft = today / "base.tar.new"
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)  # apt reads keys as a user of its own
            keys = Path(folder, "keys")
            copy_keyrings(keys)
            subprocess.run(
                ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar",
                 f"--keyring={keys}", *(f"--aptopt={option}" for option in apt_options()),
                 f"--customize-hook=cp {keys}/* \"$1\"/etc/apt/trusted.gpg.d/",
                 _release(), draft, *package_sources(_release(), None, ())],
                check=True,
            )  # fmt: skip
        draft.rename(base)
    return base


def _set_up(root: Path) -> None:
    """Do what whoever installs a machine does: its package sources, and nothing that starts."""
    home = Path.home()
    settings = {Path(path): path for path in _SETTINGS}
    settings |= {home / path: f"/root/{path}" for path in _SETTINGS_AT_HOME}
    settings |= {path: str(path) for path in _carried_paths() if path.is_file()}
    for here, there in settings.items():
        place = root / there.lstrip("/")
        if here.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-rTL", "--preserve=mode", here, place], check=True)
    options = "".join(f"{option}\n" for option in apt_options())
    (root / "etc/apt/apt.conf.d/90host").write_text(options)
    (root / "etc/dpkg/dpkg.cfg.d/90short-lived").write_text("force-unsafe-io\n")
    nothing_starts = root / "usr/sbin/policy-rc.d"
    nothing_starts.write_text("#!/bin/sh\nexit 101\n")
    nothing_starts.chmod(0o755)


def _downloads(today: Path) -> list[Bind]:
    """What apt, pip and npm fetched earlier, and folders that they are told to look in.

    Of pip's cache only that part: the other one has the wheels that were compiled here.
    """
    archives = today / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    pip = subprocess.check_output([sys.executable, "-m", "pip", "cache", "dir"], text=True).strip()
    binds = [
        Bind("rw", archives, "/var/cache/apt/archives"),
        Bind("rw", Path(pip, "http-v2"), "/root/.cache/pip/http-v2"),
        Bind("rw", Path.home() / ".npm/_cacache", "/root/.npm/_cacache"),
        *(Bind("ro", path, str(path)) for path in _carried_paths()),
    ]
    return [bind for bind in binds if bind.here.is_dir()]


def _carried() -> dict[str, str]:
    """The part of this environment that says how to reach package sources."""
    return {name: value for name, value in os.environ.items() if _VARIABLES.fullmatch(name)}


def _carried_paths() -> list[Path]:
    """Files and folders that are named there."""
    paths = map(Path, _carried().values())
    return [path for path in paths if path.is_absolute() and path.exists()]


def _environment() -> dict[str, str]:
    return _carried() | {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        # Processes in there have the same arguments as out here, where nobody may take them for
        # those of an own testbed that was left behind.
        "PATHPROOF_STATE": f"/var/tmp/pp-fresh-{os.getpid()}",
        "TERM": "dumb",
    }
