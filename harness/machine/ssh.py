"""A machine reached over SSH, its host key pinned beforehand.

Nothing waits without end for a machine that stands still. A command starts within 20 s, or the
machine is given up: every command that runs there, and each that follows, says so at once. Input
that the command does not read is given up after 20 s, too. Output and the end of a command are
waited for with the command's own timeout.
"""

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

from harness.deadline import Deadline, poll
from harness.errors import CommandTimedOut, MachineError, TimedOut, summary
from harness.machine.base import ENDING_TIMEOUT_S, Machine, Process, lost

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# A machine that boots refuses many times; paramiko would log each with a traceback.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

_ATTEMPT_TIMEOUT_S = 8.0  # one connection attempt; a guest under TCG takes about 1 s for it
_BANNER_TIMEOUT_S = 2.0
_ANSWER_TIMEOUT_S = 20.0  # until a command runs, until some of its input is taken
_KEEPALIVE_S = 5
_PIECE = 1 << 15  # what one message may carry


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
    """Runs every command in a channel of a kept-alive connection.

    A connection takes 10 channels at once, unless `MaxSessions` of sshd_config(5) says otherwise.
    Once every connection refuses another channel, one more connection is made. One that is lost
    is used no more; the machine is lost once none is left.
    """

    def __init__(self, name: str, endpoint: SshEndpoint, client: paramiko.SSHClient) -> None:
        super().__init__(name)
        self.endpoint = endpoint
        self._clients = [client]
        self._closed = False
        self._changing = threading.Lock()  # of the two above
        self._connecting = threading.Lock()
        self._given_up = ""

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
            # A guest that boots refuses at once; asked without a pause it would boot more slowly.
            time.sleep(min(0.2, deadline.remaining_s))

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        # The shell's own pid becomes the command's by exec: what it takes to signal it.
        deadline = Deadline.after(_ANSWER_TIMEOUT_S)
        try:
            channel = self._channel(deadline)
            with _closed_at(deadline, channel):
                channel.exec_command(f"echo $$; exec {shlex.join(argv)}")
                stdout: io.BufferedReader = io.BufferedReader(_Output(channel.recv))
                pid = int(stdout.readline())
        except (paramiko.SSHException, EOFError, OSError, ValueError) as error:
            if deadline.expired:
                self._given_up = f"no answer within {deadline.allowed_s:.0f} s"
                self.close()
            raise lost(self.name, self._given_up or repr(error)) from None
        return _Channel(self, argv, channel, pid, stdout, on_line)

    def _channel(self, deadline: Deadline) -> paramiko.Channel:
        """A new channel of whichever connection takes one more."""
        if channel := self._taken(deadline):
            return channel
        if not self._connecting.acquire(timeout=deadline.remaining_s):
            raise TimeoutError("another connection is still being made")
        try:
            if channel := self._taken(deadline):  # of a connection that was made meanwhile
                return channel
            if channel := self._opened(self._connect_once_more(deadline), deadline):
                return channel
        finally:
            self._connecting.release()
        raise MachineError(
            f"{self.name}: even a new connection refuses a session",
            hint="`MaxSessions` of sshd_config there must be 1 at least; 10 is its default",
        )

    def _connect_once_more(self, deadline: Deadline) -> paramiko.SSHClient:
        client = _client(self.endpoint)
        try:
            _login(client, self.endpoint, deadline)
            self._keep(client)
        except BaseException:
            client.close()
            raise
        return client

    def _keep(self, client: paramiko.SSHClient) -> None:
        """Use a connection from now on. Raises MachineError if all were closed meanwhile."""
        with self._changing:
            if self._closed:
                raise lost(self.name, self._given_up or "closed")
            self._clients.append(client)

    def _taken(self, deadline: Deadline) -> paramiko.Channel | None:
        """A new channel of the latest connection that takes one, None if none does."""
        clients = self._connected()
        if not clients:
            raise lost(self.name, self._given_up or "no transport")
        for client in reversed(clients):
            try:
                if channel := self._opened(client, deadline):
                    return channel
            except (paramiko.SSHException, EOFError, OSError):
                if deadline.expired or not self._connected():
                    raise
        return None

    def _connected(self) -> list[paramiko.SSHClient]:
        """The connections that are not lost; the others are forgotten."""
        with self._changing:
            self._clients = [one for one in self._clients if _is_active(one)]
            return list(self._clients)

    def _opened(self, client: paramiko.SSHClient, deadline: Deadline) -> paramiko.Channel | None:
        """A new channel of one connection, None if it is refused."""
        transport = client.get_transport()
        if transport is None:  # it was closed meanwhile
            raise EOFError
        try:
            return transport.open_session(timeout=deadline.remaining_s)
        except paramiko.SSHException:
            # A ChannelException, unless another thread that was refused has just taken it: a
            # transport of paramiko keeps one exception for all threads.
            if deadline.expired or not transport.is_active():
                raise
            return None

    def close(self) -> None:
        with self._changing:
            self._closed = True
            clients = list(self._clients)
        for client in clients:
            client.close()


@contextmanager
def _closed_at(deadline: Deadline, what: paramiko.Channel | socket.socket) -> Iterator[None]:
    """Close it if the block lasts too long: paramiko knows no timeout for an answer."""

    def close() -> None:
        with suppress(OSError, EOFError):  # the connection may be lost at this very moment
            what.close()

    closing = threading.Timer(deadline.remaining_s, close)
    closing.daemon = True
    closing.start()
    try:
        yield
    finally:
        closing.cancel()


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
        sent = 0
        try:
            with self._sending:
                while sent < len(data):
                    self._wait_until_taken()
                    sent += self._channel.send(data[sent : sent + _PIECE])
        except (OSError, EOFError, TimedOut) as error:
            raise lost(self.machine, f"{self.argv[0]} reads no input: {summary(error)}") from None

    def _wait_until_taken(self) -> None:
        """Wait until there is room for more input, or the channel is closed."""
        poll(
            self._channel.send_ready,
            what="room for more",
            deadline=Deadline.after(_ANSWER_TIMEOUT_S),
            every_s=0.01,
        )

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
        noted = transport.saved_exception
        if isinstance(noted, paramiko.ChannelException):  # of another channel, which was refused
            noted = None
        if status == -1 and (noted or not transport.is_active()):
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


def _is_active(client: paramiko.SSHClient) -> bool:
    transport = client.get_transport()
    return transport is not None and transport.is_active()


def _login(
    client: paramiko.SSHClient, endpoint: SshEndpoint, deadline: Deadline | None = None
) -> None:
    """Log in; each part of it has a timeout of its own, and all of it the deadline, if any."""
    sock, proxy = _connection(endpoint)
    try:
        with nullcontext() if deadline is None else _closed_at(deadline, sock):
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
        sock = socket.create_connection(address, timeout=_BANNER_TIMEOUT_S)
        # What is stuck on its way to a machine that takes nothing would hold up all that follows.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_ANSWER_TIMEOUT_S * 1000))
        return sock, None
    # Not paramiko.ProxyCommand, which never waits for its child.
    own, its = socket.socketpair()
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
            own.close()
            raise
    threading.Thread(target=child.wait, name="ssh proxy", daemon=True).start()
    return own, child
