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
    """One sweep on one map. Made by `started`."""

    def __init__(
        self, machine: Machine, process: Process, log: str, wanted: Wanted, heard: _Heard
    ) -> None:
        self._machine = machine
        self._process = process
        self._log = log
        self._wanted = wanted
        self._heard = heard

    @classmethod
    @contextmanager
    def started(cls, machine: Machine, wanted: Wanted, folder: str) -> Iterator[Sweep]:
        """Start to look at the map, and make sure that it has ended at the end of the block.

        `folder` is one on the machine that is there by the end.
        """
        log = f"{folder}/sweep.log"
        argv = ["python3", "-I", "-S", "-c", sweeper(), wanted.as_json(log)]
        heard = _Heard()
        with machine.background(argv, on_line=heard.line) as process:
            yield cls(machine, process, log, wanted, heard)

    def wait_until_ready(self, deadline: Deadline) -> None:
        """Wait until it looks at the map: until it fails or the time is over, if it never does."""
        while not self._heard.ready.wait(_LOOK_INTERVAL_S):
            if not self._process.running or deadline.expired:
                return

    def look_over(self, paths: Sequence[str]) -> None:
        """Look over these paths, too."""
        if self._process.running:
            self._process.send(f"over {' '.join(paths)}\n".encode())

    def finish(self) -> Sightings:
        """End it, and fetch what it saw: nothing, with the reason, if that is not possible."""
        places, block_size = tuple(self._wanted.places), self._wanted.block_size
        data, failure = b"", ""
        try:
            self._wait_until_done()
            data = self._machine.download([self._log])[self._log]
        except HarnessError as error:
            failure = f"the sweep failed: {error.message}"
        return parse_sightings(data, places, block_size, failure)

    def _wait_until_done(self) -> None:
        """Its log is there by then, though it may yet wait for a look that is not answered."""
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

    def line(self, line: bytes) -> None:
        """Take one line of what it says."""
        word = line.strip()
        if word == b"ready":
            self.ready.set()
        elif word == b"done":
            self.done.set()


@dataclass(frozen=True)
class Wanted:
    """Where to look: the blocks that jobs write, over the map and its paths, by their names."""

    places: Mapping[str, str]
    jobs: tuple[Job, ...]

    @property
    def block_size(self) -> int:
        return self.jobs[0].block_size

    def as_json(self, log: str) -> str:
        """What `sweeper.py` takes."""
        areas = [
            {
                "offset": job.area.offset,
                "size": job.area.size,
                "chunk": chunk_size(job),
                "period": period_s(job),
                "nonce": job.nonce,
            }
            for job in self.jobs
        ]
        wanted = {
            "log": log,
            "block": self.block_size,
            "places": dict(self.places),
            "areas": areas,
        }
        return json.dumps(wanted)


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
