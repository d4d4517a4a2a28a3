"""A host of the fleet, reached by the command `ssh`: the user's keys, agent and aliases count."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from harness.config.fleet import HostConfig
from harness.errors import CommandFailed, CommandTimedOut, MachineError
from harness.machine.base import Completed, Process
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


def destination(host: HostConfig) -> list[str]:
    """The arguments of `ssh` that name a host, none of which has a space."""
    return [
        *OPTIONS,
        *(["-p", str(host.port)] if host.port else []),
        f"{host.user}@{host.host_name}" if host.user else host.host_name,
    ]


class RemoteHost(LocalMachine):
    """Runs commands on a host, in its login shell, each over a connection of its own."""

    def __init__(self, host: HostConfig) -> None:
        super().__init__(host.shown_as)
        self._ssh = ["ssh", "-C"]
        if host.ssh_config is not None:
            self._ssh += ["-F", str(host.ssh_config)]
        self._ssh += destination(host)
        self._started: list[Process] = []

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        process = super().start([*self._ssh, shlex.join(argv)], on_line=on_line)
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
            hint=f"`{shlex.join([*self._ssh, 'true'])}` must work without a question",
        )

    def close(self) -> None:
        """End the commands that still run; what they started on the host ends by itself."""
        for process in self._started:
            process.end()
