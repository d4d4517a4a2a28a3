"""A real sshd on loopback, for tests of what is reached over SSH."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.machine import SshEndpoint, SshMachine

SSHD = Path("/usr/sbin/sshd")
# Anybody's; nothing in these tests has its private half.
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
USER = pwd.getpwuid(os.getuid()).pw_name

NEEDS_SSHD = pytest.mark.skipif(
    not SSHD.exists(), reason="needs /usr/sbin/sshd (Debian: openssh-server)"
)


def new_key(file: Path, kind: str = "ed25519") -> str:
    """Make a key pair; its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file], check=True)
    return " ".join(file.with_suffix(".pub").read_text().split()[:2])


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that have not ended; none if it has ended itself."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in listed.split()]


@dataclass(frozen=True)
class Sshd:
    """A running sshd, and how to log in to it."""

    endpoint: SshEndpoint
    process: subprocess.Popen[bytes]
    folder: Path

    def drop_connections(self) -> None:
        """Kill what serves the connections, as if the machine had died."""
        for pid in self._serving():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop what serves the connections, as if the machine stood still."""
        for pid in self._serving():
            os.kill(pid, signal.SIGSTOP)

    def _serving(self) -> list[int]:
        """Since OpenSSH 9.8 root's connection has a process below the one that sshd started."""
        serving = children(self.process.pid)
        return serving + [below for pid in serving for below in children(pid)]


@contextmanager
def sshd_in(folder: Path, kind: str = "ed25519", *, max_sessions: int = 50) -> Iterator[Sshd]:
    host_key = new_key(folder / "host", kind)
    (folder / "authorized_keys").write_text(new_key(folder / "client") + "\n")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)  # it insists on it, and does not make it
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"MaxSessions {max_sessions}\n"
    )
    argv = [str(SSHD), "-D", "-e", "-f", str(folder / "config")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log) as process,
    ):
        endpoint = SshEndpoint("127.0.0.1", port, USER, folder / "client", host_key)
        sshd = Sshd(endpoint, process, folder)
        try:
            yield sshd
        finally:
            try:
                sshd.drop_connections()  # what is frozen would outlive it
            finally:
                process.kill()  # else the `with` above would wait for it without end


def connected(endpoint: SshEndpoint) -> SshMachine:
    return SshMachine.connect("guest", endpoint, Deadline.after(20))


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
