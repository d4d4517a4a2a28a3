"""What every machine can do, however it is reached."""

from __future__ import annotations

import io
import shlex
import signal
import tarfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from harness.config.credentials import Confidential
from harness.errors import CommandFailed, CommandTimedOut, HarnessError, MachineError

COMMAND_TIMEOUT_S = 60.0
ENDING_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Completed:
    """A command that has ended. A negative `status` is the number of the signal that ended it."""

    argv: tuple[str, ...]
    status: int
    stdout_bytes: bytes
    stderr_bytes: bytes
    elapsed_s: float

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode(errors="replace")


class _Collector(threading.Thread):
    """Drains one stream, so that a full pipe never stops the command; optionally line by line."""

    def __init__(self, stream: io.BufferedReader, on_line: Callable[[bytes], None] | None) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._on_line = on_line
        self._chunks: list[bytes] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            if self._on_line is None:
                while chunk := self._stream.read1(65536):
                    self._chunks.append(chunk)
            else:
                for line in self._stream:
                    self._tell(self._on_line, line)
        except (OSError, EOFError, ValueError):
            pass  # the connection is gone, or the stream was closed: the exit status tells
        finally:
            self._stream.close()  # here, since closing waits for a read in another thread

    def _tell(self, on_line: Callable[[bytes], None], line: bytes) -> None:
        """`failure` takes the first error of who listens; the stream is drained all the same."""
        try:
            on_line(line)
        except Exception as error:  # noqa: BLE001  # raised where the command is waited for
            self.failure = self.failure or error

    @property
    def collected(self) -> bytes:
        return b"".join(self._chunks)


class Process(ABC):
    """A command that runs on a machine, its output drained concurrently.

    With `on_line`, standard output goes there line by line (in a thread of its own, newline
    included) and is not kept. What `on_line` raises, `wait` and `end` raise.
    """

    def __init__(
        self,
        machine: str,
        argv: Sequence[str],
        stdout: io.BufferedReader,
        stderr: io.BufferedReader,
        on_line: Callable[[bytes], None] | None,
    ) -> None:
        self.machine = machine
        self.argv = tuple(argv)
        self._started_at = time.monotonic()
        self._out = _Collector(stdout, on_line)
        self._err = _Collector(stderr, None)
        self._out.start()
        self._err.start()

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Write to the command's standard input. Raises MachineError if it no longer reads."""

    @abstractmethod
    def close_input(self) -> None:
        """Let the command see the end of its standard input."""

    @abstractmethod
    def signal(self, number: signal.Signals) -> None:
        """Send a signal; silent if the command has already ended."""

    @abstractmethod
    def _exit_status(self, timeout_s: float) -> int | None:
        """The exit status, or None if the command still runs after `timeout_s`."""

    @abstractmethod
    def _release(self) -> None:
        """Give back what the transport holds."""

    @property
    def running(self) -> bool:
        return self._exit_status(0) is None

    def wait(self, timeout_s: float) -> Completed:
        """Wait for the end. Raises CommandTimedOut and leaves the command running otherwise."""
        status = self._exit_status(timeout_s)
        elapsed_s = time.monotonic() - self._started_at
        if status is None:
            raise CommandTimedOut(
                machine=self.machine,
                argv=self.argv,
                stdout=self._out.collected.decode(errors="replace"),
                stderr=self._err.collected.decode(errors="replace"),
                elapsed_s=elapsed_s,
            )
        for collector in (self._out, self._err):
            collector.join(ENDING_TIMEOUT_S)
        self._release()
        if self._out.failure is not None:
            raise self._out.failure
        return Completed(self.argv, status, self._out.collected, self._err.collected, elapsed_s)

    def abandon(self) -> None:
        """Give back what the transport holds, whatever becomes of the command."""
        self._release()

    def end(self) -> None:
        """Make sure that the command no longer runs: SIGTERM, then SIGKILL. Idempotent."""
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if self._exit_status(0) is not None:
                    break
                self.signal(number)
                if self._exit_status(ENDING_TIMEOUT_S) is not None:
                    break
        finally:
            self._release()
        if self._out.failure is not None:
            raise self._out.failure


class Machine(ABC):
    """A computer that runs commands. `name` is how messages call it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        """Start a command and return at once. The caller must `wait` for it or `end` it."""

    @abstractmethod
    def close(self) -> None:
        """Give up the connection. Idempotent."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = COMMAND_TIMEOUT_S,
        check: bool = True,
        stdin: bytes = b"",
    ) -> Completed:
        """Run a command to its end.

        Raises CommandTimedOut (after killing it), CommandFailed for a non-zero status unless
        `check` is False, MachineError if the machine cannot be talked to.
        """
        process = self.start(argv)
        try:
            # Beside the wait: a command that does not read must not outlast its timeout, and one
            # that ended without reading everything is explained by its exit status.
            threading.Thread(target=_feed, args=(process, stdin), daemon=True).start()
            done = process.wait(timeout_s)
        except BaseException:
            process.end()
            raise
        if check and done.status != 0:
            raise CommandFailed(
                machine=self.name,
                argv=done.argv,
                status=done.status,
                stdout=done.stdout,
                stderr=done.stderr,
                elapsed_s=done.elapsed_s,
            )
        return done

    def sh(
        self,
        script: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_TIMEOUT_S,
        check: bool = True,
    ) -> Completed:
        """Run a POSIX shell script that stops at the first failing command."""
        return self.run(["sh", "-euc", script], stdin=stdin, timeout_s=timeout_s, check=check)

    @contextmanager
    def background(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Iterator[Process]:
        """A command that runs beside the block and is ended with it.

        On a machine that is gone nothing runs any more: the next command to it says so.
        """
        process = self.start(argv, on_line=on_line)
        try:
            yield process
        finally:
            with suppress(MachineError):
                process.end()

    def write_files(self, files: Mapping[str, str | bytes], *, mode: int = 0o644) -> None:
        """Write whole files by absolute path, in one go, making folders as needed."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, content in files.items():
                data = content.encode() if isinstance(content, str) else content
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size, member.mode, member.mtime = len(data), mode, int(time.time())
                tar.addfile(member, io.BytesIO(data))
        packed = archive.getvalue()
        if any(isinstance(content, Confidential) for content in files.values()):
            packed = Confidential(packed)
        self.run(["tar", "--extract", "--no-same-owner", "--directory=/", "--file=-"], stdin=packed)

    def download(
        self, paths: Sequence[str], *, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> dict[str, bytes]:
        """The content of several files, by path, in one go."""
        # Without --no-unquote GNU tar takes a backslash in a name for an escape.
        packed = self.run(
            [
                *("tar", "--create", "--file=-"),
                *("--absolute-names", "--no-unquote"),  # names are taken as they are
                *("--", *paths),
            ],
            timeout_s=timeout_s,
        ).stdout_bytes
        content: dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
                for member in tar:
                    if (file := tar.extractfile(member)) is not None:
                        content[member.name] = file.read()
        except (tarfile.TarError, EOFError) as error:
            raise MachineError(
                f"{self.name}: download of {shlex.join(paths)} is damaged: {error}"
            ) from None
        return content


def _feed(process: Process, data: bytes) -> None:
    with suppress(MachineError):
        if data:
            process.send(data)
        process.close_input()


def lost(machine: str, reason: object) -> HarnessError:
    """The error for a machine that no longer answers."""
    return MachineError(f"{machine}: connection lost: {reason}")
