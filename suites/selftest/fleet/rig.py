"""A fleet on one machine: each of its hosts is an sshd on 127.0.0.1 with a home of its own.

    python suites/selftest/fleet/rig.py --hosts 2

starts the hosts, says where their fleet file is, and ends them when it is interrupted. `kill NAME`
and `freeze NAME` on standard input do that to a host. The hosts share this machine's kernel, ports,
pip's cache, the environment that `./bootstrap` makes, and its processors: no more testbeds run at
once than on one host. With `--share-cache` they share images and snapshots, too. Testbeds, and
unless shared the cache, are in a host's own folder.
"""

from __future__ import annotations

import argparse
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline, poll
from harness.fleet.parcel import ENVIRONMENT, pack
from harness.host.folder import SLOTS, base, cache_folder
from harness.hypervisor.ports import CANDIDATES

TOP = Path(__file__).resolve().parents[3]
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
PRIVILEGE_SEPARATION = Path("/run/sshd")  # root's sshd insists on it, and its service may be off

_SSHD_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv HOME={home} PATHPROOF_STATE={state} XDG_CACHE_HOME={cache} PIP_CACHE_DIR={pip}
"""

_SSH_CONFIG = """
Host {name}
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {folder}/key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile /dev/null
    HostKeyAlias {name}
"""


def missing() -> str:
    """Why no host can be started here; empty if one can."""
    if SSHD is None:
        return "sshd is not installed (Debian: openssh-server)"
    return ""


@dataclass(frozen=True)
class Host:
    """A host that runs. Everything of it is below `folder`, or belongs to its sshd."""

    name: str
    folder: Path
    sshd: subprocess.Popen[bytes]

    @property
    def state(self) -> Path:
        """Where its testbeds are."""
        return self.folder / "s"

    @property
    def fleet(self) -> Path:
        """What a fleet's controller puts there."""
        return Path(self._environment("XDG_CACHE_HOME")) / "pathproof" / "fleet"

    @property
    def ssh(self) -> list[str]:
        """What runs a command there."""
        return ["ssh", "-F", str(self.folder / "ssh_config"), "-oBatchMode=yes", self.name]

    def processes(self) -> list[int]:
        """sshd, all that it started, and what has lost its parent since."""
        parents = dict(_parents())
        own = {self.sshd.pid}
        while more := {child for child, parent in parents.items() if parent in own} - own:
            own |= more
        return sorted(pid for pid in parents if pid in own or self._is_own(pid))

    def kill(self) -> None:
        """Let it die at once, with everything that runs on it."""
        self._signal(signal.SIGKILL)
        self.sshd.wait()

    def freeze(self) -> None:
        """Let it fall silent: its connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        done: set[int] = set()
        while new := set(self.processes()) - done - {os.getpid()}:
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            done |= new

    def _is_own(self, pid: int) -> bool:
        """Whether it has the host's environment, as workers have, or its files, as QEMU has."""
        process = Path(f"/proc/{pid}")
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if b"qemu" in command:
                return os.fsencode(f"{self.state}/") in command
            marks = (process / "environ").read_bytes().split(b"\0")
            return os.fsencode(f"PATHPROOF_STATE={self.state}") in marks
        return False

    def _environment(self, name: str) -> str:
        config = (self.folder / "sshd_config").read_text()
        return next(w.partition("=")[2] for w in config.split() if w.startswith(f"{name}="))


@dataclass(frozen=True)
class Rig:
    """Hosts, and the file that describes them to `pytest --fleet`."""

    hosts: tuple[Host, ...]
    file: Path


@contextmanager
def rig(
    folder: Path, names: Sequence[str], *, slots: int = 1, share_cache: bool = False
) -> Iterator[Rig]:
    """Hosts called `names`, ended with the block. Each has its name as a label, and `slots`.

    Raises TimedOut if one of them does not answer.
    """
    with ExitStack() as running:
        hosts = [
            running.enter_context(_host(folder / name, name, share_cache=share_cache))
            for name in names
        ]
        file = folder / "fleet.toml"
        file.write_text(
            "".join(
                f'[[hosts]]\naddress = "{host.name}"\nslots = {slots}\n'
                f'labels = ["{host.name}"]\nssh_config = "{host.name}/ssh_config"\n\n'
                for host in hosts
            )
        )
        yield Rig(tuple(hosts), file)


@contextmanager
def _host(folder: Path, name: str, *, share_cache: bool) -> Iterator[Host]:
    for part in (folder, folder / "home", folder / "s"):
        part.mkdir(mode=0o700)
    places = base() / SLOTS
    places.mkdir(mode=0o700, exist_ok=True)
    (folder / "s" / SLOTS).symlink_to(places)
    for key in ("host_key", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
        )
    (folder / "key.pub").rename(folder / "authorized_keys")
    port = _free_port()
    (folder / "known_hosts").write_text(f"{name} {(folder / 'host_key.pub').read_text()}")
    cache = cache_folder().parent if share_cache else folder / "home" / ".cache"
    (folder / "sshd_config").write_text(
        _SSHD_CONFIG.format(
            port=port, folder=folder, home=folder / "home", state=folder / "s", cache=cache,
            pip=Path(os.environ.get("PIP_CACHE_DIR", "~/.cache/pip")).expanduser(),
        )
    )  # fmt: skip
    (folder / "ssh_config").write_text(
        _SSH_CONFIG.format(name=name, port=port, user=getpass.getuser(), folder=folder)
    )
    if not share_cache:
        _share_environment(cache / "pathproof" / "fleet")
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        sshd = subprocess.Popen(
            [str(SSHD), "-D", "-e", "-f", folder / "sshd_config"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    host = Host(name, folder, sshd)
    try:
        poll(
            lambda: _answers(host),
            what=f"an answer of sshd for {name}",
            deadline=Deadline.after(30),
            last_seen=(folder / "sshd.log").read_text,
        )
        yield host
    finally:
        host.kill()


def _share_environment(fleet: Path) -> None:
    """One environment for the hosts of all rigs: making it takes a minute and 700 MB."""
    name = pack("environment", TOP, ENVIRONMENT).name
    shared = cache_folder() / "selftest" / name
    if not shared.is_dir():
        shared.mkdir(parents=True)
        for file in ENVIRONMENT:
            (shared / file).parent.mkdir(exist_ok=True)
            shutil.copy(TOP / file, shared / file)
    fleet.mkdir(parents=True, mode=0o700)
    (fleet / name).symlink_to(shared)


def _answers(host: Host) -> bool:
    return subprocess.run([*host.ssh, "true"], capture_output=True, check=False).returncode == 0


def _free_port() -> int:
    """A port that no testbed takes, either."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in CANDIDATES:
            return port


def _parents() -> Iterator[tuple[int, int]]:
    """Every process with its parent, from lines such as `812 (sshd) S 1 812 …` (proc(5))."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1, help="of each host")
    parser.add_argument("--share-cache", action="store_true", help="use your images and snapshots")
    options = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    names = [f"host{number}" for number in range(1, options.hosts + 1)]
    # Not below /tmp, which may be memory; and as short as can be, for the sockets of libvirt.
    folder = Path(tempfile.mkdtemp(prefix="p", dir="/var/tmp"))
    try:
        with rig(folder, names, slots=options.slots, share_cache=options.share_cache) as made:
            _say(f"pytest suites/failover --fleet {made.file}")
            for line in sys.stdin:
                what, _, name = line.strip().partition(" ")
                for host in made.hosts:
                    if host.name == name and what in {"kill", "freeze"}:
                        getattr(host, what)()
                        _say(f"{name}: {what}")
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
