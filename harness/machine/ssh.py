"""A machine reached over SSH, its host key pinned beforehand."""

from __future__ import annotations

import base64
import io
import logging
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

from harness.deadline import Deadline
from harness.errors import CommandTimedOut, MachineError, TimedOut
from harness.machine.base import ENDING_TIMEOUT_S, Machine, Process, lost

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# A machine that boots refuses many times; paramiko would log each with a traceback.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

_ATTEMPT_TIMEOUT_S = 8.0  # one connection attempt; a guest under TCG takes about 1 s for it
_BANNER_TIMEOUT_S = 2.0
_CHANNEL_TIMEOUT_S = 20.0
_KEEPALIVE_S = 5


@dataclass(frozen=True)
class SshEndpoint:
    """Where and as whom to log in.

    `host_key` is the one key that is accepted, as a line `"ssh-ed25519 AAAA…"`;
    `private_key` a file in OpenSSH form. `proxy` is a command whose input and output are a
    connection to `host` and `port`, as ssh_config(5) has it for ProxyCommand.
    """

    host: str
    port: int
    user: str
    private_key: Path
    host_key: str
    proxy: tuple[str, ...] = ()

    def __str__(self) -> str:
        through = f" through `{shlex.join(self.proxy)}`" if self.proxy else ""
        return f"{self.host}:{self.port}{through}"


class SshMachine(Machine):
    """Runs every command in a channel of one kept-alive connection."""

    def __init__(self, name: str, endpoint: SshEndpoint, client: paramiko.SSHClient) -> None:
        super().__init__(name)
        self.endpoint = endpoint
        self._client = client

    @classmethod
    def connect(
        cls,
        name: str,
        endpoint: SshEndpoint,
        deadline: Deadline,
        still_there: Callable[[], None] = lambda: None,
    ) -> SshMachine:
        """Log in, trying again until the deadline, since a booting machine answers late.

        `still_there` runs before each try and may raise to give up early. Raises MachineError
        for a wrong host key or a refused login at once, TimedOut at the deadline.
        """
        reason: object = "not tried"
        while True:
            still_there()
            final = deadline.expired
            client = _client(endpoint)
            try:
                _login(client, endpoint)
                return cls(name, endpoint, client)
            except paramiko.BadHostKeyException as error:
                client.close()
                raise MachineError(
                    f"{name}: {endpoint} shows another host key than the pinned one: {error}",
                    hint="another machine answers there, or its image was rebuilt",
                ) from None
            except paramiko.AuthenticationException as error:
                client.close()
                raise MachineError(f"{name}: login as {endpoint.user} refused: {error}") from None
            except (OSError, EOFError, paramiko.SSHException) as error:
                client.close()
                reason = error
            if final:
                raise TimedOut(
                    f"{name}: no SSH answer on {endpoint} within {deadline.allowed_s:.0f} s; "
                    f"last: {reason}"
                )
            time.sleep(min(0.2, deadline.remaining_s))

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        # The shell's own pid becomes the command's by exec: what it takes to signal it.
        try:
            transport = self._client.get_transport()
            if transport is None or not transport.is_active():
                raise lost(self.name, "no transport")
            channel = transport.open_session(timeout=_CHANNEL_TIMEOUT_S)
            channel.settimeout(_CHANNEL_TIMEOUT_S)
            channel.exec_command(f"echo $$; exec {shlex.join(argv)}")
            stdout: io.BufferedReader = io.BufferedReader(_Output(channel.recv))
            pid = int(stdout.readline())
            channel.settimeout(None)
        except (paramiko.SSHException, EOFError, OSError, ValueError) as error:
            raise lost(self.name, repr(error)) from None
        return _Channel(self, argv, channel, pid, stdout, on_line)

    def close(self) -> None:
        self._client.close()


class _Output(io.RawIOBase):
    """One of a channel's streams; paramiko's own files hold back less than was asked for."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        super().__init__()
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data = self._receive(len(view))
        view[: len(data)] = data
        return len(data)


class _Channel(Process):
    def __init__(
        self,
        owner: SshMachine,
        argv: Sequence[str],
        channel: paramiko.Channel,
        pid: int,
        stdout: io.BufferedReader,
        on_line: Callable[[bytes], None] | None,
    ) -> None:
        self._owner = owner
        self._channel = channel
        self._pid = pid
        self._sending = threading.Lock()
        stderr: io.BufferedReader = io.BufferedReader(_Output(channel.recv_stderr))
        super().__init__(owner.name, argv, stdout, stderr, on_line)

    def send(self, data: bytes) -> None:
        try:
            with self._sending:
                self._channel.sendall(data)
        except OSError as error:
            raise lost(self.machine, f"{self.argv[0]} reads no input: {error}") from None

    def close_input(self) -> None:
        with suppress(OSError, EOFError):  # if it is gone, its exit status will explain
            self._channel.shutdown_write()

    def signal(self, number: signal.Signals) -> None:
        # Not by `run`, which would kill a kill that hangs, and so on without end.
        kill = self._owner.start(["kill", "-s", number.name.removeprefix("SIG"), str(self._pid)])
        try:
            kill.wait(ENDING_TIMEOUT_S)
        except CommandTimedOut:
            kill.abandon()

    def _exit_status(self, timeout_s: float) -> int | None:
        if not self._channel.status_event.wait(timeout_s):
            return None
        status = self._channel.exit_status
        # Without an exit status the command was ended by a signal, or the connection is gone; a
        # transport that is lost notes the reason first, then wakes its channels, then is inactive.
        transport = self._channel.get_transport()
        if status == -1 and (transport.saved_exception or not transport.is_active()):
            raise lost(self.machine, f"while {self.argv[0]} ran")
        return status

    def _release(self) -> None:
        self._channel.close()


def _client(endpoint: SshEndpoint) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    kind, text = endpoint.host_key.split()[:2]
    if kind != "ssh-ed25519":
        raise MachineError(f"{endpoint.host}: only ssh-ed25519 host keys can be pinned, not {kind}")
    name = endpoint.host if endpoint.port == 22 else f"[{endpoint.host}]:{endpoint.port}"
    try:
        key = paramiko.Ed25519Key(data=base64.b64decode(text))
    except (ValueError, paramiko.SSHException) as error:
        raise MachineError(f"{endpoint.host}: the pinned host key is malformed: {error}") from None
    client.get_host_keys().add(name, kind, key)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    return client


def _login(client: paramiko.SSHClient, endpoint: SshEndpoint) -> None:
    sock, proxy = _connection(endpoint)
    try:
        client.connect(
            endpoint.host,
            endpoint.port,
            username=endpoint.user,
            key_filename=str(endpoint.private_key),
            sock=sock,
            timeout=_ATTEMPT_TIMEOUT_S,
            banner_timeout=_ATTEMPT_TIMEOUT_S if endpoint.proxy else _BANNER_TIMEOUT_S,
            auth_timeout=_ATTEMPT_TIMEOUT_S,
            allow_agent=False,
            look_for_keys=False,
        )
    except BaseException:
        sock.close()
        if proxy is not None:  # it would wait for the guest's answer
            proxy.terminate()
        raise
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(_KEEPALIVE_S)


def _connection(endpoint: SshEndpoint) -> tuple[socket.socket, subprocess.Popen[bytes] | None]:
    """A connection to the endpoint, and its proxy, which ends when both sides have closed it."""
    if not endpoint.proxy:
        address = (endpoint.host, endpoint.port)
        return socket.create_connection(address, timeout=_BANNER_TIMEOUT_S), None
    # Not paramiko.ProxyCommand, which never waits for its child.
    ours, its = socket.socketpair()
    with its:
        try:
            child = subprocess.Popen(
                endpoint.proxy,
                stdin=its.fileno(),
                stdout=its.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    threading.Thread(target=child.wait, name="ssh proxy", daemon=True).start()
    return ours, child
