"""The one ordered record of a test, on the host's monotonic clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Happened(StrEnum):
    """What an event is; the values are what readers see."""

    IO_STARTED = "I/O started"
    FAULT_INJECTED = "fault injected"
    FAULT_CONFIRMED = "fault confirmed"
    CONNECTION_ERROR = "connection error"
    RECOVERY_TIMED_OUT = "session recovery timed out"
    PATH_FAILED = "path failed"
    IO_STALLED = "I/O stalled"
    IO_RESUMED = "I/O resumed"
    FAULT_HEALED = "fault healed"
    HEALING_CONFIRMED = "healing confirmed"
    SESSION_RECOVERED = "session recovered"
    PATH_REINSTATED = "path reinstated"
    PATH_CARRIES_IO = "path carries I/O"
    IO_ENDED = "I/O ended"
    KERNEL_TROUBLE = "kernel trouble"
    MAP_ERROR = "I/O error on the map"


@dataclass(frozen=True, order=True)
class Event:
    """Something that happened at `at_ns` (host monotonic), known to within `uncertainty_ns`.

    `path` is the name of the path that it concerns, "" if that is none or not known.
    """

    at_ns: int
    what: Happened
    source: str
    detail: str = ""
    uncertainty_ns: int = 0
    path: str = ""


@dataclass(frozen=True)
class Phase:
    """A named stretch of a test; `io_expected` is False where no I/O is demanded of every job.

    It is `settled` unless I/O only gets under way in it, or paths come back: such a stretch may be
    too short for I/O of every job, or for a comparison. How long I/O waits is judged all the same.
    """

    name: str
    start_ns: int
    end_ns: int
    io_expected: bool = True
    settled: bool = True

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class Timeline:
    """Events in the order in which they happened."""

    events: tuple[Event, ...]

    @classmethod
    def of(cls, events: Iterable[Event]) -> Timeline:
        return cls(tuple(sorted(events)))

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def first(self, what: Happened, after_ns: int = 0) -> Event | None:
        """The first event of that kind at or after a point in time."""
        return next((e for e in self.events if e.what is what and e.at_ns >= after_ns), None)
