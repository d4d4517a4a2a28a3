"""This very host as a machine."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from harness.errors import MachineError
from harness.machine.base import Machine, Process, lost


class LocalMachine(Machine):
    """Runs commands as children of this process, each in a session of its own.

    They run in `folder`, which is by default the current one, and have `environment` besides this
    process's own.
    """

    def __init__(
        self,
        name: str = "this host",
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name)
        self._folder = folder
        self._environment = environment or {}

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                cwd=self._folder,
                env={**os.environ, **self._environment},
            )
        except OSError as error:
            raise MachineError(f"{self.name}: cannot start {argv[0]}: {error.strerror}") from None
        return _Child(self.name, argv, child, on_line)

    def close(self) -> None:
        """Nothing to give up."""


class _Child(Process):
    def __init__(
        self,
        machine: str,
        argv: Sequence[str],
        child: subprocess.Popen[bytes],
        on_line: Callable[[bytes], None] | None,
    ) -> None:
        self._child = child
        stdout, stderr = (cast(io.BufferedReader, s) for s in (child.stdout, child.stderr))
        super().__init__(machine, argv, stdout, stderr, on_line)

    @property
    def _input(self) -> IO[bytes]:
        return cast(IO[bytes], self._child.stdin)

    def send(self, data: bytes) -> None:
        try:
            self._input.write(data)
            self._input.flush()
        except (OSError, ValueError) as error:
            raise lost(self.machine, f"{self.argv[0]} reads no input: {error}") from None

    def close_input(self) -> None:
        # It may have ended without reading everything, which its exit status will explain.
        with suppress(BrokenPipeError):
            self._input.close()

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)

    def _exit_status(self, timeout_s: float) -> int | None:
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def _release(self) -> None:
        self.close_input()
