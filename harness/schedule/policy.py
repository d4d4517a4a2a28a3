"""Longest test first, scarce tests before common ones.

List scheduling by falling duration ends within 4/3 - 1/(3m) of the best possible with m workers
(R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 17, 1969), if
durations are known, all workers are equal and each is given its next test when it is free.
pytest-xdist's workers want to know one test ahead (`queue=2`); `harness.schedule.simulation` says
what that costs.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

Labels = frozenset[str]
Worker = TypeVar("Worker", bound=Hashable)

NO_LABELS: Labels = frozenset()


@dataclass(frozen=True)
class Case:
    """A test: the labels that its worker must have, and the seconds it is expected to take."""

    name: str
    needs: Labels = NO_LABELS
    expected_s: float | None = None


class Schedule(Generic[Worker]):
    """Who holds which tests, and which still wait. Tests are named by their place in `cases`.

    A worker takes the longest of the tests that the fewest workers are able to run. It never takes
    one that it is unable to run, unless no worker is able to: then any worker takes it, last, so
    that it ends as an error and not in silence. Tests of unknown duration count as the median of
    the others. The same events give the same decisions.
    """

    def __init__(self, cases: Sequence[Case], *, queue: int = 2) -> None:
        """`queue` is how many tests a worker holds, the one that it runs included."""
        known = [case.expected_s for case in cases if case.expected_s is not None]
        usual = median(known) if known else 1.0
        self._needs = [case.needs for case in cases]
        self._expected = [usual if c.expected_s is None else c.expected_s for c in cases]
        self._queue = queue
        self._waiting: dict[Labels, list[tuple[float, int]]] = {}
        self._labels: dict[Worker, Labels] = {}
        self._awaited: list[Labels] = []
        self._offered: Counter[Labels] = Counter()  # by workers that are here or awaited
        self.queues: dict[Worker, list[int]] = {}
        for index in range(len(cases)):
            self.wait(index)

    @property
    def waiting(self) -> int:
        """How many tests no worker holds."""
        return sum(map(len, self._waiting.values()))

    def wait(self, index: int) -> None:
        """Let a test wait for a worker: at first, or again because its worker died."""
        heap = self._waiting.setdefault(self._needs[index], [])
        heapq.heappush(heap, (-self._expected[index], index))

    def join(self, worker: Worker, labels: Labels) -> None:
        """A worker is ready. It takes the place of one that left to be replaced, if there is."""
        self._labels[worker] = labels
        self._offered[labels] += 1
        self.queues[worker] = []
        if self._awaited:
            awaited = labels if labels in self._awaited else self._awaited[0]
            self._awaited.remove(awaited)
            self._offered[awaited] -= 1

    def leave(self, worker: Worker, *, replaced: bool = False) -> int | None:
        """A worker ended or died; the test that it was running, if any, is returned.

        What else it held waits again. With `replaced`, another worker is on its way: tests that
        only this one was able to run wait for that.
        """
        labels = self._labels.pop(worker)
        held = self.queues.pop(worker)
        if replaced:
            self._awaited.append(labels)
        else:
            self._offered[labels] -= 1
        for index in held[1:]:
            self.wait(index)
        return held[0] if held else None

    def finish(self, worker: Worker, index: int) -> None:
        """A worker is done with a test."""
        self.queues[worker].remove(index)

    def hand_out(self, workers: Iterable[Worker]) -> list[tuple[Worker, int]]:
        """Fill the queues of these workers, as far as there are tests for them.

        Idle ones come first; then those that are expected to be free first.
        """
        workers = list(workers)
        handed = []
        for held in range(self._queue):
            short = [worker for worker in workers if len(self.queues[worker]) == held]
            for worker in sorted(short, key=self._held_s):
                if (index := self._take(self._labels[worker])) is not None:
                    self.queues[worker].append(index)
                    handed.append((worker, index))
        return handed

    def has_work_for(self, labels: Labels) -> bool:
        """Whether a test waits that a worker with these labels may take."""
        return bool(self._takeable(labels))

    def _held_s(self, worker: Worker) -> float:
        return sum(self._expected[index] for index in self.queues[worker])

    def _take(self, labels: Labels) -> int | None:
        takeable = self._takeable(labels)
        if not takeable:
            return None
        needs = min(takeable, key=lambda n: (takeable[n] or math.inf, self._waiting[n][0]))
        return heapq.heappop(self._waiting[needs])[1]

    def _takeable(self, labels: Labels) -> dict[Labels, int]:
        """The kinds of tests that wait and may be taken, and how many workers are able to."""
        able = {needs: self._able(needs) for needs, heap in self._waiting.items() if heap}
        return {needs: count for needs, count in able.items() if needs <= labels or not count}

    def _able(self, needs: Labels) -> int:
        """How many workers are able to run tests with these needs, those on their way included."""
        return sum(count for labels, count in self._offered.items() if needs <= labels)


def missing_labels(needs: Labels, offered: Collection[Labels]) -> Labels:
    """What the machine that comes nearest lacks to run a test; empty if one is able to.

    `offered` has the labels of each machine.
    """
    gaps = [needs - labels for labels in offered] or [needs]
    return min(gaps, key=lambda gap: (len(gap), sorted(gap)))
