"""What the harness is doing, told to whoever listens: the progress display, the report, the bill.

Code that acts says so with `step()` and leaves evidence with `attach()`; it knows nothing
of Allure or of terminals. Listeners are called in the thread that acts and must be quick;
a listener that raises is a defect and is not caught.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum

_numbers = itertools.count(1)
_current: ContextVar[Step | None] = ContextVar("current step", default=None)


class Spent(StrEnum):
    """What a stretch of time was spent on; the bill at the end of a run adds these up.

    IO and WAITING are what tests are about: I/O that goes on or is read back, and waiting for
    what the storage takes its time for, while I/O goes on. TURN is waiting until other testbeds
    leave room for one more. All else is the harness's own.
    """

    TURN = "waiting for a place"
    PROVISIONING = "provisioning"
    CONFIGURATION = "configuration"
    IO = "I/O"
    WAITING = "waiting"
    MEASURING = "measuring"
    JUDGING = "judging"
    REPORTING = "reporting"


@dataclass(frozen=True)
class Attachment:
    """Evidence: `content` as it will be shown, `media_type` such as `"text/plain"`."""

    name: str
    content: bytes
    media_type: str


@dataclass(frozen=True, eq=False)
class Step:
    """One thing being done; `parent` is the step around it, in this thread or its creator's."""

    title: str
    spent_on: Spent
    parent: Step | None
    number: int = field(default_factory=lambda: next(_numbers))
    started_at: float = field(default_factory=time.monotonic)


class Listener:
    """Is told of every step. Override what is of interest."""

    def started(self, step: Step) -> None:
        """`step` begins."""

    def progressed(self, step: Step, message: str, fraction: float | None) -> None:
        """`step` has come further; `fraction` of 1.0 where that is known."""

    def warned(self, message: str) -> None:
        """Something is not as one would wish, and the run goes on."""

    def attached(self, step: Step | None, attachment: Attachment) -> None:
        """Evidence was left inside `step`, or outside any."""

    def finished(self, step: Step, error: BaseException | None) -> None:
        """`step` is over, by `error` if that is not None."""


class _Audience:
    """Those who listen now."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def __iter__(self) -> Iterator[Listener]:
        return iter(tuple(self._listeners))

    def __reversed__(self) -> Iterator[Listener]:
        return reversed(tuple(self._listeners))

    @contextmanager
    def joined_by(self, listener: Listener) -> Iterator[None]:
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)


_audience = _Audience()  # a global: else all code that acts would have to be given it


def listening(listener: Listener) -> AbstractContextManager[None]:
    """Tell `listener` of every step until the block ends."""
    return _audience.joined_by(listener)


@contextmanager
def step(title: str, spent_on: Spent | None = None) -> Iterator[Step]:
    """Say that something is being done; without `spent_on`, for what the parent is done."""
    parent = _current.get()
    inherited = parent.spent_on if parent else Spent.PROVISIONING
    this = Step(title, spent_on or inherited, parent)
    token = _current.set(this)
    error: BaseException | None = None
    for listener in _audience:
        listener.started(this)
    try:
        yield this
    except BaseException as caught:
        error = caught
        raise
    finally:
        _current.reset(token)
        for listener in reversed(_audience):
            listener.finished(this, error)


def progress(message: str, fraction: float | None = None) -> None:
    """Say how far the current step has come; silent outside any step."""
    this = _current.get()
    if this is not None:
        for listener in _audience:
            listener.progressed(this, message, fraction)


def warn(message: str) -> None:
    """Tell people, once, of something that they would want to know and that stops nothing."""
    for listener in _audience:
        listener.warned(message)


def attach(name: str, content: str | bytes, media_type: str = "text/plain") -> None:
    """Leave evidence inside the current step."""
    data = content.encode(errors="replace") if isinstance(content, str) else content
    for listener in _audience:
        listener.attached(_current.get(), Attachment(name, data, media_type))


class Bill(Listener):
    """Adds up where the time went, each second once: a step's own time, without its children's.

    Steps that run side by side in threads are billed side by side, so the sum may exceed
    the wall clock.
    """

    def __init__(self) -> None:
        self.seconds: dict[Spent, float] = dict.fromkeys(Spent, 0.0)
        self._children_s: dict[int, float] = {}

    def finished(self, step: Step, error: BaseException | None) -> None:
        took = time.monotonic() - step.started_at
        self.seconds[step.spent_on] += max(0.0, took - self._children_s.pop(step.number, 0.0))
        if step.parent is not None:
            number = step.parent.number
            self._children_s[number] = self._children_s.get(number, 0.0) + took
