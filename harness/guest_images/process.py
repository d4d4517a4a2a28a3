"""Run one tool of an image build: its messages are progress, and it dies with this process."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from harness.errors import HarnessError, ImageError, describe_command
from harness.steps import progress

_KEPT_LINES = 400
_TOTAL = re.compile(r"(\d+) newly installed")
_STAGE = re.compile(r"I: ([a-z].*)")
_SETTING_UP = re.compile(r"Setting up (\S+)")


class BuildStopped(HarnessError):
    """The build was called off because something else failed or the user interrupted."""


class BuildFailed(ImageError):
    """A tool of the build failed; `output` holds its last lines."""

    def __init__(self, message: str, output: Sequence[str]) -> None:
        super().__init__(message)
        self.output = tuple(output)


class Progress:
    """Turns the messages of mmdebstrap, apt and dpkg into progress of the current step."""

    def __init__(self) -> None:
        self._total = 0
        self._done = 0

    def read(self, line: str) -> tuple[str, float | None] | None:
        """What to tell and how far along (1.0 is all packages), or None if it is no news.

        Shows `I: extracting archives...`, `Setting up kmod (30+20221128-1) ...`; counts against
        `0 upgraded, 161 newly installed, 0 to remove and 0 not upgraded.`
        """
        if match := _TOTAL.search(line):
            self._total += int(match[1])
        elif match := _SETTING_UP.match(line):
            self._done += 1
            fraction = min(1.0, self._done / self._total) if self._total else None
            return f"setting up {match[1].partition(':')[0]}", fraction
        elif (match := _STAGE.match(line)) and "hook" not in line:
            return match[1].rstrip("."), None
        return None


def run_tool(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stop: threading.Event,
    pass_fds: Sequence[int] = (),
) -> None:
    """Run `argv` in a session of its own and report its messages as progress.

    The whole session is killed when `stop` is set or this thread is interrupted. Raises
    BuildFailed with the last lines of output, BuildStopped after `stop`.
    """
    began = time.monotonic()
    tail: deque[str] = deque(maxlen=_KEPT_LINES)
    process = subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=pass_fds,
        start_new_session=True,
        umask=0o022,
    )
    news = Progress()
    with process:
        try:
            for line in _lines(process, stop):
                tail.append(line)
                if told := news.read(line):
                    progress(*told)
        except BaseException:
            _kill_session(process)
            raise
    if process.returncode != 0:
        raise BuildFailed(
            describe_command(
                f"exit status {process.returncode}",
                "this machine",
                argv[:2],
                "\n".join(tail),
                "",
                time.monotonic() - began,
            ),
            tail,
        )


def _lines(process: subprocess.Popen[bytes], stop: threading.Event) -> Iterator[str]:
    """The lines of output as they come. Looks at `stop` five times a second."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    rest = b""
    while True:
        if stop.is_set():
            raise BuildStopped("the image build was called off")
        if not select.select([descriptor], [], [], 0.2)[0]:
            continue
        chunk = os.read(descriptor, 65536)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines if chunk else [rest]:
            yield line.decode(errors="replace").rstrip()
        if not chunk:
            return


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill every process of the build and wait until the last one has let go of the output."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    assert process.stdout is not None
    while process.stdout.read(65536):
        pass
