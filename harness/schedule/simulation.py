"""A run of many machines on paper: the policy as it is, with durations instead of tests."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from harness.schedule.policy import NO_LABELS, Case, Labels, Schedule

RESTART_S = 5.0  # a new worker on a machine that is ready: Python, imports, collection


@dataclass(frozen=True)
class Machine:
    """Runs as many tests side by side as it has slots."""

    name: str
    slots: int = 1
    labels: Labels = NO_LABELS


@dataclass(frozen=True)
class Outcome:
    """What came of a run: when its last test ended, and how often a test had to run again."""

    makespan_s: float
    finished: int
    again: int


class Slot(NamedTuple):
    machine: Machine
    number: int


def simulate(
    cases: Sequence[Case],
    machines: Sequence[Machine],
    took_s: Sequence[float],
    *,
    ready_s: float = 0.0,
    deaths_s: Mapping[str, float] | None = None,
    queue: int = 2,
) -> Outcome:
    """Run every case, each for its `took_s`, on machines that can start at `ready_s`.

    `deaths_s` says when a machine dies, by name: its tests then run elsewhere. Workers behave as
    pytest-xdist's do: one begins a test when it knows the next, or knows that there is none. In
    the second case it ends afterwards; it is started anew when there is a test for it after all.
    """
    run = _Run(Schedule(cases, queue=queue), took_s, queue)
    slots = [Slot(machine, number) for machine in machines for number in range(machine.slots)]
    run.at(ready_s, lambda: run.start(slots))
    for name, death_s in (deaths_s or {}).items():
        run.at(death_s, partial(run.die, name))
    return run.outcome()


def lower_bound_s(
    cases: Sequence[Case], machines: Sequence[Machine], took_s: Sequence[float]
) -> float:
    """No order of tests ends earlier: the longest test, or work over slots, whichever is more.

    Work over slots also holds for the tests that only some machines are able to run. Every test
    must be able to run somewhere.
    """
    able: dict[Labels, frozenset[Machine]] = {}
    work_s: dict[frozenset[Machine], float] = {}
    for case, seconds in zip(cases, took_s, strict=True):
        if case.needs not in able:
            able[case.needs] = frozenset(m for m in machines if case.needs <= m.labels)
        chosen = able[case.needs]
        work_s[chosen] = work_s.get(chosen, 0.0) + seconds
    shares = [
        sum(inner_s for inner, inner_s in work_s.items() if inner <= chosen)
        / sum(machine.slots for machine in chosen)
        for chosen in {*work_s, frozenset(machines)}
    ]
    return max(*took_s, *shares)


class _Run:
    """What happens, in the order in which it happens."""

    def __init__(self, schedule: Schedule[Slot], took_s: Sequence[float], queue: int) -> None:
        self._schedule = schedule
        self._took_s = took_s
        self._queue = queue
        self._now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._running: set[Slot] = set()
        self._last: set[Slot] = set()  # told that their queue is all there is for them
        self._ended: list[Slot] = []
        self._starting = 0
        self._dead: set[str] = set()
        self._makespan_s = 0.0
        self._finished = 0
        self._again = 0

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time_s, next(self._number), action))

    def outcome(self) -> Outcome:
        while self._events:
            self._now_s, _, action = heapq.heappop(self._events)
            action()
        return Outcome(self._makespan_s, self._finished, self._again)

    def start(self, slots: Sequence[Slot]) -> None:
        alive = [slot for slot in slots if slot.machine.name not in self._dead]
        for slot in alive:
            self._schedule.join(slot, slot.machine.labels)
        self._serve(alive)

    def die(self, name: str) -> None:
        self._dead.add(name)
        self._ended = [slot for slot in self._ended if slot.machine.name != name]
        for slot in [slot for slot in self._schedule.queues if slot.machine.name == name]:
            index = self._schedule.leave(slot)
            if index is not None:
                self._schedule.wait(index)
                self._again += slot in self._running
            self._running.discard(slot)
        self._serve(list(self._schedule.queues))
        self._restart()

    def _serve(self, slots: Sequence[Slot]) -> None:
        open_ended = [slot for slot in slots if slot not in self._last]
        self._schedule.hand_out(open_ended)
        for slot in open_ended:
            self._go_on(slot)

    def _go_on(self, slot: Slot) -> None:
        """Let a worker begin its next test, if it is free and has one."""
        held = self._schedule.queues[slot]
        if slot in self._running or not held:
            return
        if len(held) < self._queue:
            self._last.add(slot)
        self._running.add(slot)
        index = held[0]
        self.at(self._now_s + self._took_s[index], lambda: self._done(slot, index))

    def _done(self, slot: Slot, index: int) -> None:
        if slot.machine.name in self._dead:
            return
        self._running.discard(slot)
        self._schedule.finish(slot, index)
        self._finished += 1
        self._makespan_s = self._now_s
        if slot in self._last:
            self._last.discard(slot)
            self._schedule.leave(slot)
            self._ended.append(slot)
            self._restart()
        else:
            self._serve([slot])

    def _restart(self) -> None:
        """Start ended workers anew, as many as there are tests that wait for one."""
        for slot in list(self._ended):
            if self._starting >= self._schedule.waiting:
                return
            if self._schedule.has_work_for(slot.machine.labels):
                self._ended.remove(slot)
                self._starting += 1
                self.at(self._now_s + RESTART_S, partial(self._started_anew, slot))

    def _started_anew(self, slot: Slot) -> None:
        self._starting -= 1
        self.start([slot])
        self._restart()
