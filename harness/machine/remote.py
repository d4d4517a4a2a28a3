"""The host of the hypervisor: this one, or one reached by the command `ssh` as its user does."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, cast

from harness.errors import CommandFailed, CommandTimedOut, MachineError
from harness.machine.base import COMMAND_TIMEOUT_S, Completed, Process
from harness.machine.local import LocalMachine

# A connection on which nothing comes is given up within 12 to 16 s. Each
# connection is one of its own: a shared one would answer for a host that is gone.
OPTIONS = (
    "-oBatchMode=yes",
    "-oConnectTimeout=10",
    "-oServerAliveInterval=4",
    "-oServerAliveCountMax=3",
    "-oControlPath=none",
)
REACH_TIMEOUT_S = 30.0
SSH_FAILED = 255  # ssh(1), EXIT STATUS: or the command's own
_PIECE = 1 << 20


class HypervisorHost(LocalMachine):
    """The host where QEMU runs: this one."""

    def reach(self, argv: Sequence[str], *, timeout_s: float = REACH_TIMEOUT_S) -> Completed:
        """Run the first command there."""
        return self.run(argv, timeout_s=timeout_s)

    def pipe(self, source: Sequence[str], argv: Sequence[str]) -> Completed:
        """Run a command there that reads what the command `source` writes here, of any length.

        Returns when both have ended, whatever `argv` says of it. Raises MachineError if
        `source` failed.
        """
        with (
            subprocess.Popen(source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as made,
            self.background(argv) as process,
        ):
            output = cast(IO[bytes], made.stdout)
            with suppress(MachineError):  # its exit status will explain
                while piece := output.read(_PIECE):
                    process.send(piece)
            output.close()
            process.close_input()
            done = process.wait(COMMAND_TIMEOUT_S)
        if done.status == 0 and made.returncode != 0:
            raise MachineError(f"{source[0]} failed with exit status {made.returncode}")
        return done

    def tunnel(self, port: int) -> tuple[str, ...]:  # another host has one
        """The command that connects to `port` of its 127.0.0.1; empty if none is needed."""
        return ()


class RemoteHost(HypervisorHost):
    """Runs commands on a host, in its login shell, each over a connection of its own.

    `ssh` is the command with all that names the host, but for the host itself: `destination`.
    """

    def __init__(self, name: str, ssh: Sequence[str], destination: str) -> None:
        super().__init__(name)
        self._ssh = tuple(ssh)
        self._destination = destination
        self._started: list[Process] = []

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        command = [*self._ssh, "-C", self._destination, shlex.join(argv)]
        process = super().start(command, on_line=on_line)
        self._started.append(process)
        return process

    def reach(self, argv: Sequence[str], *, timeout_s: float = REACH_TIMEOUT_S) -> Completed:
        """Run a command. Raises MachineError, in ssh's own words, if it gets nowhere."""
        try:
            return self.run(argv, timeout_s=timeout_s)
        except CommandTimedOut:
            cause = f"no answer within {timeout_s:.0f} s"
        except CommandFailed as error:
            if error.status != SSH_FAILED:
                raise
            cause = (error.stderr.strip().splitlines() or ["ssh says nothing"])[-1]
        raise MachineError(
            f"{self.name}: cannot be reached: {cause}",
            hint=f"`{shlex.join([*self._ssh, self._destination, 'true'])}` must work "
            "without a question",
        )

    def tunnel(self, port: int) -> tuple[str, ...]:
        """The command whose input and output are a connection to `port` of its 127.0.0.1."""
        return (*self._ssh, "-W", f"127.0.0.1:{port}", self._destination)

    def close(self) -> None:
        """End the commands that still run; what they started on the host ends by itself."""
        for process in self._started:
            process.end()
