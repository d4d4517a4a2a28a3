"""Looks at blocks again and again while they are written, bypassing the page cache (O_DIRECT).

It runs on the initiator beside fio, after `reader.py` in one piece (`harness.workload.programs`):
Python 3.6, no imports but the standard library.

    python3 sweeper.py '{MAP: {"log": FILE, "block": SIZE, "places": {PLACE: DEVICE, ...},
                               "areas": [{"offset": BYTES, "size": BYTES, "chunk": BYTES,
                                          "period": SECONDS, "nonce": HEX}, ...]}, ...}'

It says `ready` as it begins; a map that cannot be opened is left out, `away MAP` says so. Each area
is looked at once in its period, a chunk at a time and at an even pace. The first place is the map,
at which two chunks are looked at side by side: where only it is left, one after the other would be
too slow on a busy machine. A line `over MAP PLACE...` on standard input says over which paths to
look, too: from then on each chunk goes to the next place that is not waiting for an answer. One
that gets no answer in time also goes to the place that answered last. So a dead path takes no more
than one chunk, and the others go on. A line `at MAP PLACE DEVICE` says that a place has another
device by now.

At the end of standard input it writes the log of each map, says `done`, and ends. If the sweep of
one map fails, the others go on, and before `done` it says `failed MAP REASON`. A log has a row for
each block that was looked at, see ROW: the place by its position; what was found as `harness.
measurements.Found`, 0 if it is undamaged; number and time of the write as `reader.py` has them;
the number of the block, counted from the start of the device; when the look began and ended, in ns
of CLOCK_MONOTONIC. A chunk that could not be read has one row, with its number of blocks in place
of the number. Content that was seen before, at whichever place, is not checked again.
"""

import json
import os
import struct
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from harness.workload.reader import ANSWERS, Place, inspect

ROW = struct.Struct("<BbHIqqq")
FOUND = {
    "ok": 0,
    "earlier": -1,
    "blank": -2,
    "foreign": -3,
    "misdirected": -4,
    "torn": -5,
}
UNREADABLE = -6
NO_ANSWER = -7
REST_S = 0.5  # after an error, before a path is tried again
PATIENCE_S = 0.2  # before a chunk is looked at elsewhere, too; longer if all looks are slow
LONGEST_PATIENCE_S = 0.6
SLOW = 3  # times as long as looks take
WEIGHT = 0.1  # of the last look in how long they take
LAST_ANSWERS_S = 1.0
AT_THE_MAP = 2  # looks side by side

Kept = Tuple[bytes, int, int, int]  # content, what it is, number, time
Task = Tuple["Area", int, int]  # offset and size of a chunk


def clock_ns() -> int:
    return int(time.monotonic() * 1e9)


class Area:
    """Where to look next, and when."""

    def __init__(self, offset: int, size: int, chunk: int, period: float, nonce: str) -> None:
        self.chunks = [
            (start, min(chunk, offset + size - start))
            for start in range(offset, offset + size, chunk)
        ]
        self.pause = period / len(self.chunks)
        self.period = period
        self.nonce = bytes.fromhex(nonce)
        self.next = 0
        self.due = time.monotonic()

    def take(self) -> Tuple[int, int]:
        """The next chunk; what is late is not made up for."""
        chunk = self.chunks[self.next]
        self.next = (self.next + 1) % len(self.chunks)
        self.due = max(self.due + self.pause, time.monotonic() - self.period)
        return chunk


class Watcher:
    """Looks at chunks over one place, one at a time."""

    def __init__(self, number: int, place: Place, sweep: "Sweep") -> None:
        self.number = number
        self.place = place
        self.sweep = sweep
        self.task: Optional[Task] = None
        self.since = 0.0
        self.handed_on = False
        self.began = 0
        self.ready_at = 0.0
        self.answered_at = 0.0
        self.moved_to = ""
        threading.Thread(target=self.work, daemon=True).start()

    def work(self) -> None:
        while True:
            with self.sweep.changed:
                while self.task is None:
                    self.sweep.changed.wait()
                area, start, size = self.task
                moved_to, self.moved_to = self.moved_to, ""
            if moved_to:
                self.place.close()
                self.place = Place(self.place.name, moved_to, self.sweep.block_size)
            self.began = clock_ns()
            content = self.place.read(start, size)
            ended = clock_ns()
            if isinstance(content, bytes):
                self.answered_at = time.monotonic()
                self.sweep.took(self.answered_at - self.since)
                self.sweep.note(self, area, start, content, ended)
            elif content in ANSWERS:
                self.one_by_one(area, start, size)
            else:
                self.sweep.row(self, NO_ANSWER, size // self.sweep.block_size, start, 0, ended)
                with self.sweep.changed:
                    self.hand_on()
                self.ready_at = time.monotonic() + REST_S
            with self.sweep.changed:
                self.task = None
                self.sweep.changed.notify_all()

    def free(self) -> bool:
        """Whether it neither waits for an answer nor rests after an error."""
        return self.task is None and self.ready_at <= time.monotonic()

    def one_by_one(self, area: Area, start: int, size: int) -> None:
        """Read the blocks of a chunk each by itself."""
        for offset in range(start, start + size, self.sweep.block_size):
            self.began = clock_ns()
            content = self.place.read(offset, self.sweep.block_size)
            if isinstance(content, bytes):
                self.sweep.note(self, area, offset, content, clock_ns())
            else:
                found = UNREADABLE if content in ANSWERS else NO_ANSWER
                self.sweep.row(self, found, 1, offset, 0, clock_ns())

    def hand_on(self) -> None:
        """Have the chunk looked at elsewhere, once."""
        if self.task and not self.handed_on:
            self.handed_on = True
            self.sweep.again.append(self.task)


class Sweep:
    """All areas of a map, all its places, and what was seen."""

    def __init__(self, wanted: Dict[str, Any]) -> None:
        self.log = wanted["log"]
        self.block_size = wanted["block"]
        self.areas = [Area(**area) for area in wanted["areas"]]
        self.devices = list(wanted["places"].items())
        self.changed = threading.Condition()
        self.watchers: List[Watcher] = []
        self.turn = 0
        self.stopping = False
        self.rows: List[bytes] = []
        self.usual = 0.0  # seconds that a look takes
        self.kept: Dict[int, Kept] = {}
        self.again: List[Task] = []  # chunks that a place did not answer for
        for _ in range(AT_THE_MAP):
            self.add(0)

    def add(self, number: int) -> None:
        """Look at one more chunk at a time over a place; one that cannot be opened is left out."""
        name, device = self.devices[number]
        place = Place(name, device, self.block_size)
        if not place.away:
            self.watchers.append(Watcher(number, place, self))

    def look_over(self, names: List[str]) -> None:
        """Look over these places, too."""
        with self.changed:
            for number, (name, _) in enumerate(self.devices):
                if number and name in names:
                    self.add(number)

    def look_at(self, name: str, device: str) -> None:
        """Look over a place by another device from the next chunk on."""
        with self.changed:
            for watcher in self.watchers:
                if watcher.place.name == name:
                    watcher.moved_to = device

    def stop(self) -> None:
        """Let it end."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    def took(self, seconds: float) -> None:
        """Note how long a look took until it was answered."""
        self.usual += WEIGHT * (seconds - self.usual)

    @property
    def patience(self) -> float:
        """Seconds. On a busy machine a look elsewhere would be no quicker, and slow down all."""
        return min(max(PATIENCE_S, SLOW * self.usual), LONGEST_PATIENCE_S)

    def row(
        self, watcher: Watcher, found: int, number: int, offset: int, written: int, ended: int
    ) -> None:
        block = offset // self.block_size
        self.rows.append(
            ROW.pack(watcher.number, found, number, block, written, watcher.began, ended)
        )

    def note(self, watcher: Watcher, area: Area, start: int, content: bytes, ended: int) -> None:
        """Note what each block of a chunk is."""
        for at in range(0, len(content), self.block_size):
            block, offset = content[at : at + self.block_size], start + at
            kept = self.kept.get(offset)
            if kept is None or kept[0] != block:
                problem, written, number, _ = inspect(block, offset, area.nonce)
                kept = self.kept[offset] = (block, FOUND[problem], number, written)
            self.row(watcher, kept[1], kept[2], offset, kept[3], ended)

    def idle(self) -> Optional[Watcher]:
        """The next place in turn that is neither waiting nor resting."""
        count = len(self.watchers)
        for step in range(count):
            watcher = self.watchers[(self.turn + step) % count]
            if watcher.free():
                self.turn = (self.turn + step + 1) % count
                return watcher
        return None

    def surest(self) -> Optional[Watcher]:
        """Of the places that are neither waiting nor resting, the one that answered last.

        Of several that died at once some are not known to be dead yet.
        """
        free = [watcher for watcher in self.watchers if watcher.free()]
        return max(free, key=lambda watcher: watcher.answered_at, default=None)

    def run(self) -> None:
        """Sweep until it is stopped."""
        with self.changed:
            while not self.stopping:
                now = time.monotonic()
                for watcher in self.watchers:
                    if watcher.task and now - watcher.since > self.patience:
                        watcher.hand_on()
                area = min(self.areas, key=lambda one: one.due)
                wait = 0.0 if self.again else area.due - now
                idle = self.surest() if self.again else self.idle() if wait <= 0 else None
                if idle is None:
                    self.changed.wait(min(max(wait, 0.02), PATIENCE_S))
                    continue
                idle.task = self.again.pop(0) if self.again else self.take(area)
                idle.since, idle.handed_on = now, False
                self.changed.notify_all()

    def take(self, area: Area) -> Task:
        """The next chunk of an area."""
        start, size = area.take()
        if area.next == 0:
            self.turn += 1  # so that the next pass has each chunk at another place
        return area, start, size

    def finish(self) -> None:
        """Write the log. What still waits for an answer has waited in vain until now."""
        deadline = time.monotonic() + LAST_ANSWERS_S
        with self.changed:
            while any(w.task for w in self.watchers) and time.monotonic() < deadline:
                self.changed.wait(0.05)
            for watcher in self.watchers:
                if watcher.task:
                    _, start, size = watcher.task
                    self.row(watcher, NO_ANSWER, size // self.block_size, start, 0, clock_ns())
        with open(self.log, "wb") as file:
            file.write(b"".join(self.rows))


def sweep_to_the_end(name: str, sweep: Sweep, failures: Dict[str, str]) -> None:
    """Until it is stopped and its log is written, or until it fails; `failures` says why."""
    try:
        sweep.run()
        sweep.finish()
    except Exception as error:  # noqa: BLE001  # the other maps still have something to say
        failures[name] = " ".join(f"{type(error).__name__}: {error}".split())


def sweep_main() -> None:
    sweeps = {name: Sweep(wanted) for name, wanted in json.loads(sys.argv[1]).items()}
    failures: Dict[str, str] = {}
    threads = []
    for name, sweep in sweeps.items():
        if sweep.watchers:
            of = (name, sweep, failures)
            threads.append(threading.Thread(target=sweep_to_the_end, args=of))
            threads[-1].start()
        else:
            print("away", name, flush=True)
    print("ready", flush=True)
    for line in sys.stdin:
        order, name, *rest = line.split()
        if order == "at":
            sweeps[name].look_at(*rest)
        else:
            sweeps[name].look_over(rest)
    for sweep in sweeps.values():
        sweep.stop()
    for thread in threads:
        thread.join()
    for name, reason in failures.items():
        print("failed", name, reason, flush=True)
    print("done", flush=True)
    os._exit(0)  # without waiting for a look that is not answered


if __name__ == "__main__":
    sweep_main()
