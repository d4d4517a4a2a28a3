"""What is being done, shown while it is done: a few calm lines on a terminal, else a plain log."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from harness.concurrency import beside
from harness.steps import Attachment, Listener, Step, listening

REFRESH_S = 0.125
DEPTH = 2  # plain lines tell of steps up to here; a step without a parent has depth 1
MOST_LINES = 6
SLOW_S = 1.0  # a step quicker than this is not worth a line
STILL_S = 60.0  # in a plain log, how long silence may last

# Index, reverse index, save and restore of the cursor (ECMA-48, DEC VT100): the display lives
# below the cursor's line, so that what pytest has written in that line stays as it is.
_DOWN, _UP, _SAVE, _RESTORE, _ERASE_BELOW = "\x1bD", "\x1bM", "\x1b7", "\x1b8", "\x1b[J"


@dataclass
class _Running:
    step: Step
    depth: int
    message: str = ""
    fraction: float | None = None
    told_at: float | None = None


class Progress(Listener):
    """The steps that run now. Safe to be told from any thread. Begin with `showing`.

    `console` writes to the real standard error, whatever pytest captures. With `animated` the
    lines below the cursor are redrawn. Otherwise every step up to `DEPTH` that takes `slow_s`
    or longer, or fails, leaves a line when it is over; one that goes on leaves a line early, and
    another every `still_s`. Times count from `began`, in seconds since the epoch; `worker` is
    named beside them. A line is written at once: those of several processes do not mix.
    """

    def __init__(
        self,
        console: Console,
        *,
        animated: bool,
        slow_s: float = SLOW_S,
        still_s: float = STILL_S,
        worker: str = "",
        began: float | None = None,
    ) -> None:
        self._console = console
        self.animated = animated
        self._slow_s = slow_s
        self._still_s = still_s
        self._lock = threading.RLock()
        self._running: dict[int, _Running] = {}
        self._worker = worker
        self._began = time.time() if began is None else began
        self._drawn = 0
        self._broken: OSError | None = None

    def started(self, step: Step) -> None:
        with self._lock:
            depth = self._depth(step)
            self._running[step.number] = _Running(step, depth)

    def progressed(self, step: Step, message: str, fraction: float | None) -> None:
        with self._lock:
            running = self._running.get(step.number)
            if running is not None:
                running.message, running.fraction = message, fraction

    def warned(self, message: str) -> None:
        with self._lock:
            self._clear()
            worker = f"[{self._worker}] " if self._worker else ""
            self._print(f"{worker}warning: {message}")

    def attached(self, step: Step | None, attachment: Attachment) -> None:
        """Evidence is for the report."""

    def finished(self, step: Step, error: BaseException | None) -> None:
        with self._lock:
            running = self._running.pop(step.number, None)
            if running is None:
                return
            took = time.monotonic() - step.started_at
            if self.animated:
                if not self._running:
                    self._clear()
            elif running.depth <= DEPTH and (took >= self._slow_s or error is not None):
                end = "" if error is None else f", failed: {_first_line(error)}"
                self._line(running, f"{took:.1f} s{end}")

    def tick(self) -> None:
        """Redraw, or say what has begun or still goes on. Called regularly while showing."""
        with self._lock:
            if self.animated:
                self._draw()
                return
            now = time.monotonic()
            for running in list(self._running.values()):
                if running.depth > DEPTH:
                    continue
                if running.told_at is None:
                    if now - running.step.started_at >= self._slow_s:
                        self._line(running, running.message)
                elif now - running.told_at >= self._still_s:
                    took = f"still at it after {now - running.step.started_at:.0f} s"
                    self._line(running, f"{took}: {running.message}" if running.message else took)

    @contextmanager
    def showing(self) -> Iterator[Progress]:
        """Keep the display alive until the block ends; then nothing of it is left."""
        try:
            with beside(self._keep_ticking, name="progress"):
                yield self
        finally:
            with self._lock:
                self._clear()

    def _keep_ticking(self, over: threading.Event) -> None:
        while not over.wait(REFRESH_S):
            with self._breakable():
                self.tick()
            if self._broken is not None:
                self.warned(f"progress is no longer shown: {self._broken}")
                return

    def _depth(self, step: Step) -> int:
        parent = step.parent and self._running.get(step.parent.number)
        return parent.depth + 1 if parent else 1

    def _line(self, running: _Running, end: str = "") -> None:
        running.told_at = time.monotonic()
        indent = "  " * (running.depth - 1)
        text = f"{stamp(self._began, self._worker)} {indent}{running.step.title} … {end}"
        self._print(text.rstrip())

    def _draw(self) -> None:
        if not self._running:
            self._clear()
            return
        room = max(1, min(MOST_LINES, self._console.height - 2))
        shown = sorted(self._running.values(), key=_order)[-room:]
        width = self._console.width - 1
        with self._console.capture() as captured:
            self._console.print(Group(*(self._row(one) for one in shown)), width=width, end="")
        lines = captured.get().splitlines()[:room]
        # Make room below first: at the bottom of the screen that scrolls.
        text = _DOWN * len(lines) + _UP * len(lines) + _SAVE
        text += "".join(f"\r{_DOWN}\x1b[K{line}" for line in lines)
        self._write(text + f"\x1b[J{_RESTORE}")
        self._drawn = len(lines)

    def _row(self, running: _Running) -> RenderableType:
        took = time.monotonic() - running.step.started_at
        row = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [
            Spinner("dots", style="cyan")
            if running.depth == 1
            else Text(" " * (running.depth - 1)),
            Text(running.step.title, no_wrap=True, overflow="ellipsis"),
            Text(f"{took:.1f} s", style="dim", no_wrap=True),
        ]
        if running.fraction is not None:
            cells.append(ProgressBar(total=1.0, completed=running.fraction, width=24))
        if running.message:
            cells.append(Text(running.message, style="dim", no_wrap=True, overflow="ellipsis"))
        row.add_row(*cells)
        return row

    def _clear(self) -> None:
        if self._drawn:
            self._drawn = 0
            self._write(f"{_DOWN}{_UP}{_SAVE}\r{_DOWN}{_ERASE_BELOW}{_RESTORE}")

    def _print(self, text: str) -> None:
        with self._breakable():
            self._console.print(Text(text), soft_wrap=True)

    def _write(self, text: str) -> None:
        with self._breakable():
            self._console.file.write(text)
            self._console.file.flush()

    @contextmanager
    def _breakable(self) -> Iterator[None]:
        """A terminal that is gone (EIO) or takes no more for now (EAGAIN) never ends a run."""
        try:
            yield
        except OSError as error:
            self._broken = error


def wants_animation(console: Console, *, quiet: bool, under_ci: bool) -> bool:
    """Whether to animate: only for a person at a terminal that can."""
    return console.is_terminal and not console.is_dumb_terminal and not quiet and not under_ci


def stamp(began: float, worker: str = "") -> str:
    """How a line begins: `[gw0   12.3 s]`; `began` in seconds since the epoch."""
    return f"[{worker}{' ' if worker else ''}{time.time() - began:6.1f} s]"


@contextmanager
def showing_progress(
    stream: TextIO,
    *,
    quiet: bool = False,
    worker: str = "",
    began: float | None = None,
) -> Iterator[Progress]:
    """Show every step on `stream` until the block ends, animated for a person at a terminal.

    A worker is one of several on that terminal, and writes lines.
    """
    console = Console(file=stream)
    under_ci = bool(os.environ.get("CI"))
    animated = not worker and wants_animation(console, quiet=quiet, under_ci=under_ci)
    progress = Progress(console, animated=animated, worker=worker, began=began)
    with listening(progress), progress.showing():
        yield progress


def _order(running: _Running) -> tuple[int, ...]:
    """The sort key of a step, by the way down from the root: children follow their parent."""
    numbers = [running.step.number]
    parent = running.step.parent
    while parent is not None:
        numbers.append(parent.number)
        parent = parent.parent
    return tuple(reversed(numbers))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
