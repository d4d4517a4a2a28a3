"""A machine that has nothing: a minimal root of this host's own release, with the checkout in it.

What runs in it shares the kernel, the network and the devices of this host. Of its files it sees
only what any machine is set up with: where packages come from (apt, pip, npm), whom to trust, and
what was downloaded before, so that it is not downloaded again. Nothing that was built or installed
is among that.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from harness.fleet.parcel import pack, working_tree
from harness.guest_images.sources import apt_options, copy_keyrings, package_sources
from harness.host.folder import cache_folder
from harness.locks import locked_file, try_locked_folder
from suites.selftest import needs

TOP = Path(__file__).resolve().parents[3]
CHECKOUT = "/srv/pathproof"
_ROOTS = Path("/var/tmp")
_PREFIX = "pathproof-fresh-"
_AUTOCLEAN_TIMEOUT_S = 60

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
# reaps orphaned processes, and when it ends all the others end, guests too.
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

# The checkout without what root's job has made in it; the settings of fresh_machine's root.
_USER = "tester"
_AS_USER = """\
home=/home/$0
! test -e "$home" || userdel --remove "$0"
useradd --create-home "$0"
mkdir "$home/pathproof"
tar --exclude=./.venv --exclude=./.bootstrap --exclude=node_modules --exclude=./reports/out \\
    -cf - . | tar -C "$home/pathproof" -xf -
for settings in .config .npmrc .pip; do
    ! test -e "/root/$settings" || cp -r "/root/$settings" "$home"
done
chown -R "$0:" "$home"
cd "$home/pathproof"
exec setpriv --reuid="$0" --regid="$0" --init-groups \\
    env HOME="$home" USER="$0" LOGNAME="$0" PATHPROOF_STATE=/var/tmp/pp-fresh-user "$@"
"""


def missing() -> str:
    """Why no fresh machine can be made here; empty if one can."""
    if platform.freedesktop_os_release().get("ID") != "debian":
        return needs.DEBIAN
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed (Debian: mmdebstrap)"
    return needs.no_namespaces()


class Bind(NamedTuple):
    """A folder of this host that is seen in there."""

    access: Literal["ro", "rw"]
    here: Path
    there: str


class Done(NamedTuple):
    """How a command ended, and both its streams in one, in order."""

    status: int
    said: str


def finish(
    argv: Sequence[str], timeout_s: float, *, env: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> Done:
    """Run a command to its end, or kill it; what it said until then is kept."""
    try:
        done = subprocess.run(
            argv, env=env, pass_fds=pass_fds, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")
        return Done(-signal.SIGKILL, f"{said}\nkilled: no end within {timeout_s:g} s\n")
    return Done(done.returncode, done.stdout.decode(errors="replace"))


@dataclass(frozen=True)
class FreshMachine:
    """A root that can be entered, again and again.

    `claim` is a descriptor that holds the root's lock, as long as anything in there has it.
    """

    root: Path
    binds: Sequence[Bind]
    claim: int

    def run(self, argv: Sequence[str], timeout_s: float) -> Done:
        """Run a command in the checkout, as root, for `timeout_s` at most."""
        binds = "\n".join("\t".join(map(str, bind)) for bind in self.binds)
        entered = [*_UNSHARE, "sh", "-c", _ENTER, "sh", str(self.root), binds, CHECKOUT, *argv]
        return finish(entered, timeout_s, env=_environment(), pass_fds=[self.claim])

    def run_as_user(self, argv: Sequence[str], timeout_s: float) -> Done:
        """Run a command as an ordinary user, in a checkout of that user's own, made anew."""
        return self.run(("sh", "-euc", _AS_USER, _USER, *argv), timeout_s)

    def file(self, path: str) -> Path:
        """Where this host finds what is `path` in there."""
        return self.root / path.lstrip("/")


@contextmanager
def fresh_machine() -> Iterator[FreshMachine]:
    """A machine as it comes from the installer, only smaller; removed at the end of the block."""
    cache = cache_folder() / "fresh"
    cache.mkdir(parents=True, exist_ok=True)
    # Two at once would write the same archives.
    with locked_file(cache / "lock"), ExitStack() as made:
        sweep(_ROOTS)
        kept = keep(cache, _release(), datetime.now(UTC).date())
        root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_ROOTS))
        made.callback(_remove, root)
        claim = made.enter_context(try_locked_folder(root))
        assert claim is not None
        subprocess.run(["tar", "-C", root, "-xf", _base(kept.base)], check=True)
        _set_up(root)
        code = pack("checkout", TOP, working_tree(TOP))
        checkout = root / CHECKOUT.lstrip("/")
        checkout.mkdir()
        subprocess.run(["tar", "-C", checkout, "-x"], input=code.archive, check=True)
        machine = FreshMachine(root, _downloads(kept.archives), claim)
        yield machine
        if list(machine.file("var/lib/apt/lists").glob("*_Packages*")):  # else apt knows no package
            machine.run(("apt-get", "autoclean", "--yes"), _AUTOCLEAN_TIMEOUT_S)


class Kept(NamedTuple):
    """What one run leaves for the next: a minimal root of the day, and what apt fetched."""

    base: Path
    archives: Path


def keep(cache: Path, release: str, today: date) -> Kept:
    """Where both are kept of `release`. Removes the minimal roots of other days and releases.

    apt checks the hash of each archive before it uses it, so archives of other days may stay.
    """
    kept = Kept(cache / f"{release}-{today}.tar", cache / f"{release}-archives")
    for old in cache.iterdir():
        if old.is_dir() and not old.name.endswith("-archives"):  # as earlier versions had them
            shutil.rmtree(old)
        elif old.suffix in {".tar", ".new"} and old != kept.base:
            old.unlink()
    (kept.archives / "partial").mkdir(parents=True, exist_ok=True)
    return kept


def sweep(where: Path) -> None:
    """Remove the roots that killed runs left behind, in which nothing runs any more."""
    for left in where.glob(f"{_PREFIX}*"):
        with try_locked_folder(left) as claim:
            if claim is not None:
                _remove(left)


def _release() -> str:
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _remove(root: Path) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", root], check=True)


def _base(base: Path) -> Path:
    """The minimal root of this host's release, as a tar archive; made if it is missing."""
    if not base.exists():
        draft = base.with_suffix(".new")
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


def _downloads(archives: Path) -> list[Bind]:
    """What apt, pip and npm fetched earlier, and folders in which they are set up to look.

    Of pip's cache only that part: the other one has the wheels that were compiled here.
    """
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
        # Processes in there have the same arguments as those of testbeds out here. A folder of
        # another name keeps a run out here from taking them for what a dead run left behind.
        "PATHPROOF_STATE": f"/var/tmp/pp-fresh-{os.getpid()}",
        "TERM": "dumb",
    }
