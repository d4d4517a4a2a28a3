"""How long I/O waited: pauses of whole streams, and single I/Os from submission to completion.

The stall is the longest time without a completion while I/O was outstanding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.measurements import MAP, CompletionLog, Found, Ints, Measurements, WriteHistory

SWEEP = "sweep"  # the stream of looks at what is written, through the map
_MIN_PROBES = 20

Kind = TypeVar("Kind", bound="Wait")


@dataclass(frozen=True)
class Wait:
    """A time for which I/O of one stream waited; `resolution_ns` is the grain of both its ends."""

    stream: str
    start_ns: int
    end_ns: int
    resolution_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


class Stall(Wait):
    """A pause of one stream, from its last completion (or first submission) to the next one."""


class LongIo(Wait):
    """One I/O, from its submission to its completion, whatever the others of its stream did."""


@dataclass(frozen=True)
class Moment:
    """Something that happened at `at_ns`, known to within `uncertainty_ns`."""

    at_ns: int
    uncertainty_ns: int


@dataclass(frozen=True, eq=False)
class Waits(Generic[Kind]):
    """Waits of one kind of one stream, in the order in which they ended."""

    kind: type[Kind]
    stream: str
    start_ns: Ints
    end_ns: Ints
    resolution_ns: int

    @classmethod
    def of(cls, kind: type[Kind], log: CompletionLog, stream: str) -> Waits[Kind]:
        """All pauses of a stream, or all its I/Os.

        Between two completions the stream waits from the first of them, or from the moment when
        the earliest I/O still to complete was submitted if that was later: idle time is no stall.
        """
        order = np.argsort(log.at_ns, kind="stable")
        at = log.at_ns[order]
        submitted = at - log.latency_ns[order]
        if kind is LongIo or not len(at):
            return cls(kind, stream, submitted, at, log.resolution_ns)
        earliest_open = np.minimum.accumulate(submitted[::-1])[::-1]
        previous = np.concatenate(([earliest_open[0]], at[:-1]))
        return cls(kind, stream, np.maximum(previous, earliest_open), at, log.resolution_ns)

    def within(
        self,
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        begun_before_ns: int | None = None,
        begun_from_ns: int | None = None,
    ) -> Waits[Kind]:
        """Those that ended, and began, within stretches of time."""
        inside = np.full(len(self.end_ns), fill_value=True)
        if start_ns is not None:
            inside &= self.end_ns > start_ns
        if end_ns is not None:
            inside &= self.end_ns <= end_ns
        if begun_before_ns is not None:
            inside &= self.start_ns < begun_before_ns
        if begun_from_ns is not None:
            inside &= self.start_ns >= begun_from_ns
        return self.only(inside)

    def including(self, moments: Iterable[Moment]) -> NDArray[np.bool_]:
        """For each whether one of the moments was in it, as far as times are known."""
        found = np.full(len(self.end_ns), fill_value=False)
        for moment in moments:
            room_ns = moment.uncertainty_ns + self.resolution_ns
            found |= (self.start_ns <= moment.at_ns + room_ns) & (
                self.end_ns >= moment.at_ns - room_ns
            )
        return found

    def only(self, chosen: NDArray[np.bool_]) -> Waits[Kind]:
        """Those of them that are chosen."""
        return replace(self, start_ns=self.start_ns[chosen], end_ns=self.end_ns[chosen])

    @property
    def longest(self) -> Kind | None:
        """The longest, the first of several; None if there is none."""
        if not len(self.end_ns):
            return None
        worst = int(np.argmax(self.end_ns - self.start_ns))
        ends = int(self.start_ns[worst]), int(self.end_ns[worst])
        return self.kind(self.stream, *ends, self.resolution_ns)


def waits_of(measurements: Measurements, kind: type[Kind]) -> list[Waits[Kind]]:
    """The waits of every stream, and the single I/Os of the sweep that went through the map.

    One of these may hang where no stream does: a path with a large read on it gets no more I/O.
    """
    waits = [Waits.of(kind, s.completions, s.name) for s in measurements.streams]
    history = measurements.history
    if kind is LongIo and history is not None and (swept := _through_the_map(history)) is not None:
        grain_ns = max((one.resolution_ns for one in waits), default=0)
        waits.append(Waits(kind, SWEEP, *swept, grain_ns))
    return waits


def _through_the_map(history: WriteHistory) -> tuple[Ints, Ints] | None:
    """When each look of the sweep through the map began and ended; None if that is not known."""
    looks = history.looks
    if MAP not in looks.places or len(history.read) < len(looks):
        return None
    answered = (looks.place == looks.places.index(MAP)) & (looks.found != Found.NO_ANSWER)
    answered &= history.read > 0  # once for each chunk, and not what was read back
    order = np.argsort(looks.ended_ns[answered], kind="stable")
    return looks.began_ns[answered][order], looks.ended_ns[answered][order]


def worst_of(each: Iterable[Waits[Kind]]) -> Kind | None:
    """The longest of the waits of several streams; None if there is none."""
    longest = (waits.longest for waits in each)
    found = (wait for wait in longest if wait is not None)
    return max(found, key=lambda wait: wait.end_ns - wait.start_ns, default=None)


def longest_stall(log: CompletionLog, stream: str, *, start_ns: int | None = None) -> Stall | None:
    """The longest pause of one stream that ended after a point in time, or None."""
    return Waits.of(Stall, log, stream).within(start_ns=start_ns).longest


def worst_stall(measurements: Measurements, *, start_ns: int | None = None) -> Stall | None:
    """The longest stall of any stream that ended after a point in time, or None."""
    return worst_of(one.within(start_ns=start_ns) for one in waits_of(measurements, Stall))


def longest_io(log: CompletionLog, stream: str) -> LongIo | None:
    """The I/O of one stream that took the longest; None if none completed."""
    return Waits.of(LongIo, log, stream).longest


def longest_idle(log: CompletionLog) -> tuple[int, int] | None:
    """From when to when a stream had no I/O outstanding for the longest time between two I/Os.

    A stall in that time would not be seen by it. None of a stream with fewer than two I/Os.
    """
    if len(log) < 2:
        return None
    submitted = log.at_ns - log.latency_ns
    order = np.argsort(submitted, kind="stable")
    done_ns = np.maximum.accumulate(log.at_ns[order])[:-1]
    next_ns = submitted[order][1:]
    longest = int(np.argmax(next_ns - done_ns))
    return int(done_ns[longest]), int(next_ns[longest])


def stall_resolution_ns(measurements: Measurements) -> int | None:
    """How finely a stall is seen: the probe's median interval before any fault.

    A stall between two probes of that distance could begin unseen; fio's log has a grain, too.
    None if the probe measured too little to tell.
    """
    probe = measurements.probe
    if probe is None or measurements.before is None:
        return None
    log, before = probe.completions, measurements.before
    inside = (log.at_ns >= before.start_ns) & (log.at_ns <= before.end_ns)
    submitted = np.sort((log.at_ns - log.latency_ns)[inside])
    if len(submitted) < _MIN_PROBES:
        return None
    return max(int(np.median(np.diff(submitted))), log.resolution_ns)
