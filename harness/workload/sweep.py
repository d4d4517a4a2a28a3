"""The sweep: what is written is looked at all the time, while fio goes on writing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from harness.deadline import Deadline
from harness.errors import HarnessError, WorkloadError
from harness.machine import Machine, Process
from harness.measurements import Ints
from harness.units import KIB
from harness.workload.job import Job
from harness.workload.programs import sweeper

PERIOD_S = 1.0  # in which each block is looked at once; with what a dead path takes, below 2 s
_LOOKS = 4  # at each block, before it is written again
_SHORTEST_S = 0.2  # of a period, however soon that is
_CHUNK = 128 * KIB
_ENDING_S = 20.0
_LOOK_INTERVAL_S = 0.05
_ROW = np.dtype(
    [
        ("place", "u1"),
        ("found", "i1"),
        ("number", "<u2"),
        ("block", "<u4"),
        ("written_ns", "<i8"),
        ("began_ns", "<i8"),
        ("ended_ns", "<i8"),
    ]
)


@dataclass(frozen=True, eq=False)
class Sightings:
    """What the sweep saw, a row for each block looked at; times are those of the machine.

    `found` and the rest are as `sweeper.py` describes them, `place` is an index into `places`.
    """

    places: tuple[str, ...]
    place: Ints
    found: Ints
    number: Ints
    offset: Ints
    written_ns: Ints
    began_ns: Ints
    ended_ns: Ints
    failure: str = ""


def parse_sightings(
    data: bytes, places: Sequence[str], block_size: int, failure: str = ""
) -> Sightings:
    """The rows of the sweep's log. Raises ValueError if the last one is not whole."""
    rows = np.frombuffer(data, dtype=_ROW)

    def column(name: str) -> Ints:
        return rows[name].astype(np.int64)

    return Sightings(
        places=tuple(places),
        place=column("place"),
        found=column("found"),
        number=column("number"),
        offset=column("block") * block_size,
        written_ns=column("written_ns"),
        began_ns=column("began_ns"),
        ended_ns=column("ended_ns"),
        failure=failure,
    )


class Sweep:
    """One program on an initiator, which looks at each of its maps. Made by `started`."""

    def __init__(
        self, machine: Machine, process: Process, wanted: Mapping[str, Wanted], heard: _Heard
    ) -> None:
        self._machine = machine
        self._process = process
        self._wanted = wanted
        self._heard = heard

    @classmethod
    @contextmanager
    def started(cls, machine: Machine, wanted: Mapping[str, Wanted]) -> Iterator[Sweep]:
        """Start to look at the maps, and make sure that it has ended at the end of the block.

        `wanted` is by the maps' names, none of which has a space.
        """
        told = json.dumps({name: one.told for name, one in wanted.items()})
        heard = _Heard()
        argv = ["python3", "-I", "-S", "-c", sweeper(), told]
        with machine.background(argv, on_line=heard.line) as process:
            yield cls(machine, process, wanted, heard)

    def wait_until_ready(self, deadline: Deadline) -> None:
        """Wait until it looks at the maps: until it fails or the time is over, if it never does."""
        while not self._heard.ready.wait(_LOOK_INTERVAL_S):
            if not self._process.running or deadline.expired:
                return

    def look_over(self, name: str, paths: Sequence[str]) -> None:
        """Look at that map over these paths, too."""
        if self._process.running:
            self._process.send(f"over {name} {' '.join(paths)}\n".encode())

    def look_at(self, name: str, path: str, device: str) -> None:
        """Look over a path of that map by another device from now on."""
        if self._process.running:
            self._process.send(f"at {name} {path} {device}\n".encode())

    def finish(self) -> dict[str, Sightings]:
        """End it, and fetch what it saw of each map: nothing, with the reason, where it failed."""
        logs: Mapping[str, bytes] = {}
        failures = self._heard.failures
        try:
            self._wait_until_done()
            if whole := [one.log for name, one in self._wanted.items() if name not in failures]:
                logs = self._machine.download(whole)
        except HarnessError as error:
            failures = dict.fromkeys(self._wanted, error.message)
        return {
            name: parse_sightings(
                logs.get(one.log, b""),
                tuple(one.places),
                one.block_size,
                f"the sweep failed: {failures[name]}" if name in failures else "",
            )
            for name, one in self._wanted.items()
        }

    def _wait_until_done(self) -> None:
        """Its logs are there by then, though it may yet wait for a look that is not answered."""
        deadline = Deadline.after(_ENDING_S)
        self._process.close_input()
        while not self._heard.done.wait(_LOOK_INTERVAL_S):
            if not self._process.running and not self._heard.done.is_set():
                said = self._process.wait(_LOOK_INTERVAL_S)
                raise WorkloadError(f"exit status {said.status}: {said.stderr.strip()}")
            if deadline.expired:
                raise WorkloadError(f"it did not end within {_ENDING_S:g} s")


class _Heard:
    """What the program has said so far."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.done = threading.Event()
        self.failures: dict[str, str] = {}  # why it has no log of a map

    def line(self, line: bytes) -> None:
        """Take one line of what it says."""
        word, _, rest = line.decode().strip().partition(" ")
        name, _, reason = rest.partition(" ")
        if word == "ready":
            self.ready.set()
        elif word == "done":
            self.done.set()
        elif word == "away":
            self.failures[name] = "it cannot open the map"
        elif word == "failed":
            self.failures[name] = reason


@dataclass(frozen=True)
class Wanted:
    """Where to look: the blocks that jobs write, over the map and its paths, by their names.

    `log` is a file on the machine. Its folder has to be there only by the end.
    """

    places: Mapping[str, str]
    jobs: tuple[Job, ...]
    log: str

    @property
    def block_size(self) -> int:
        return self.jobs[0].block_size

    @property
    def told(self) -> dict[str, object]:
        """What `sweeper.py` takes."""
        return {
            "log": self.log,
            "block": self.block_size,
            "places": dict(self.places),
            "areas": [
                {
                    "offset": job.area.offset,
                    "size": job.area.size,
                    "chunk": chunk_size(job),
                    "period": period_s(job),
                    "nonce": job.nonce,
                }
                for job in self.jobs
            ],
        }


def chunk_size(job: Job) -> int:
    """Bytes that are read at once."""
    return max(_CHUNK, job.block_size)


def period_s(job: Job) -> float:
    """In which each block is looked at once: soon, where it is soon written again."""
    if job.pause_s is None:
        return PERIOD_S
    again_s = job.area.size / job.block_size / job.depth * job.pause_s
    return max(_SHORTEST_S, min(PERIOD_S, again_s / _LOOKS))


def swept(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """Those whose blocks a sweep can recognise: none if they have blocks of several sizes."""
    written = tuple(job for job in jobs if job.steady and job.keeps_a_ledger)
    return written if len({job.block_size for job in written}) == 1 else ()
