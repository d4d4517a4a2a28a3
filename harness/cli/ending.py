"""Being asked to stop: everything is undone on the way out, and nothing interrupts that."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_POLITE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(KeyboardInterrupt):
    """Somebody wants this process to end. `status` is the exit status that says so."""

    def __init__(self, number: int) -> None:
        super().__init__("ended" if number == signal.SIGTERM else "interrupted")
        self.status = 128 + number


@contextmanager
def ending_politely() -> Iterator[None]:
    """Turn the first signal that asks for an end into Ended; later ones are answered, no more.

    A signal that is ignored stays so (nohup(1)).
    """
    before = {number: signal.getsignal(number) for number in _POLITE}
    for number in _POLITE:
        if before[number] != signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed_afterwards() -> Iterator[None]:
    """When the block ends, cleaning up begins: from then on signals are answered only."""
    try:
        yield
    finally:
        _only_answer()


def _end(number: int, _frame: FrameType | None) -> None:
    _only_answer()
    # Objects that are torn from the middle of their work may complain when they are collected
    # (paramiko's files do: "I/O operation on closed file"); that is no news to anybody.
    sys.unraisablehook = _ignore
    raise Ended(number)


def _only_answer() -> None:
    for number in _POLITE:
        if signal.getsignal(number) == _end:
            signal.signal(number, _answer)


def _ignore(_complaint: Any) -> None: ...


def _answer(_number: int, _frame: FrameType | None) -> None:
    with suppress(OSError):
        sys.stderr.write("\ncleaning up; this takes a few seconds\n")
