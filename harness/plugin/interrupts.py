"""Signals that end a run: everything is removed on the way out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_POLITE = (signal.SIGTERM, signal.SIGHUP)
_ALL = (signal.SIGINT, *_POLITE)


@contextmanager
def interruptible(*, once: bool) -> Iterator[None]:
    """Let a polite request to end be an interrupt, like Ctrl-C.

    With `once`, as in a worker, only the first of all these signals is: Ctrl-C reaches a worker
    from the terminal, and then its controller asks again while it cleans up.
    """
    before = {number: signal.getsignal(number) for number in _ALL}

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if once:
            for number in _ALL:
                signal.signal(number, _ignore)
        raise KeyboardInterrupt

    for number in _ALL if once else _POLITE:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_interrupts() -> None:
    """From here on the run cleans up after itself, and a second Ctrl-C must not stop that."""

    def say(_number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            stderr = sys.__stderr__  # pytest may have replaced sys.stderr
            if stderr is not None:
                stderr.write("\ncleaning up; this takes a few seconds\n")

    for number in _ALL:
        signal.signal(number, say)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler of our own, as children inherit SIG_IGN."""
