"""A host reached by the command `ssh`: the user's keys, agent and aliases count."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from harness.errors import CommandFailed, CommandTimedOut, MachineError
from harness.machine.base import Completed, Process
from harness.machine.hypervisor_host import REACH_TIMEOUT_S, HypervisorHost

# A connection on which nothing comes is given up within 12 to 16 s. Each
# connection is one of its own: a shared one would answer for a host that is gone.
OPTIONS = (
    "-oBatchMode=yes",
    "-oConnectTimeout=10",
    "-oServerAliveInterval=4",
    "-oServerAliveCountMax=3",
    "-oControlPath=none",
)
SSH_FAILED = 255  # ssh(1), EXIT STATUS: or the command's own


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
