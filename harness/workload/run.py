"""Running fio on a machine, and reading back what it wrote."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files

from harness.errors import CommandFailed, CommandTimedOut, CutShort, FioHangs, WorkloadError
from harness.machine import Completed, Machine, Process
from harness.measurements import CompletionLog, FioErrors, Stream
from harness.observe import Clock
from harness.workload.job import Job, render_job_file
from harness.workload.ledger import Ledger, Looks, parse_looks
from harness.workload.report import (
    FioReport,
    IssuedWrites,
    count_verify_errors,
    parse_io_log,
    parse_latency_log,
    parse_report,
)

FOLDER = "/run/pathproof/fio"
ENDING_TIMEOUT_S = 60.0  # after its last I/O fio only writes logs; under TCG 2 s
_READ_BACK_TIMEOUT_S = 300.0


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run left behind; log times are the machine's own. Without a log it is empty.

    `issued` has the writes of each job of verified writes, by name. `broken` says why there is
    neither report nor log, as when fio was killed.
    """

    jobs: tuple[Job, ...]
    job_file: str
    report: FioReport
    report_text: str
    complaints: str
    logs: tuple[CompletionLog, ...]
    issued: Mapping[str, IssuedWrites]
    broken: str = ""

    def streams(self, clock: Clock) -> tuple[Stream, ...]:
        """The streams with their times on the host's clock, in the order of the jobs."""
        verify_errors = count_verify_errors(self.complaints)
        result = []
        for job, log in zip(self.jobs, self.logs, strict=True):
            shifted = replace(log, at_ns=clock.array_to_host(log.at_ns))
            said = self.report.of(job.name)
            errors = FioErrors(
                said.error if said else 0,
                said.total_errors if said else 0,
                verify_errors if job.verified else 0,
            )
            done = said.read_ios + said.write_ios if said else None
            result.append(
                Stream(job.name, job.depth, job.verified, shifted, errors, done, job.pace)
            )
        return tuple(result)

    def ledgers(self) -> list[tuple[Job, Ledger]]:
        """Each job of verified writes with its ledger.

        Raises WorkloadError if fio's report and logs contradict each other.
        """
        found = []
        for job, log in zip(self.jobs, self.logs, strict=True):
            if issued := self.issued.get(job.name):
                said = self.report.of(job.name)
                if said and len(issued.offset) != said.write_ios:
                    raise WorkloadError(
                        f"fio reports {said.write_ios} writes of job {job.name!r}, "
                        f"but logged {len(issued.offset)}"
                    )
                found.append((job, Ledger.of(log, issued)))
        return found

    def require_clean(self) -> None:
        """Raise WorkloadError if any job saw an error, or did nothing that is known of."""
        if self.broken:
            raise WorkloadError(self.broken)
        for job in self.jobs:
            said = self.report.of(job.name)
            if said is None:
                raise WorkloadError(f"fio's report lacks job {job.name!r}")
            if said.error or said.total_errors:
                raise WorkloadError(
                    f"fio job {job.name!r} failed (errno {said.error}): {self.complaints.strip()}"
                )
            if said.read_ios + said.write_ios == 0:
                raise WorkloadError(f"fio job {job.name!r} did no I/O")


class FioRun:
    """One fio that runs on a machine. Made by `started`."""

    def __init__(
        self, machine: Machine, device: str, jobs: Sequence[Job], folder: str = FOLDER
    ) -> None:
        self._machine = machine
        self._folder = folder
        self._link = f"{folder}/device"
        self._jobs = tuple(job.marked() for job in jobs)
        # fio takes ":" for the end of a name, "#" and ";" for a comment and "\\" for an escape. A
        # plain name stays: fio writes to nothing that is mounted by the very name that it has.
        named = self._link if re.search(r"[:#;\\]", device) else device
        self.job_file = render_job_file(named, self._jobs, folder)
        self._process: Process | None = None

    @classmethod
    @contextmanager
    def started(
        cls,
        machine: Machine,
        device: str,
        jobs: Sequence[Job],
        *,
        folder: str = FOLDER,
        program: str = "fio",
    ) -> Iterator[FioRun]:
        """Start fio, and make sure that it is gone at the end of the block.

        What it needs and leaves is in `folder` on the machine, FOLDER or one below it. `program`
        is its path there, or its name.
        """
        run = cls(machine, device, jobs, folder)
        script = (
            f"rm -rf {folder}; mkdir -p {folder}; ln -s {shlex.quote(device)} {run._link}\n"
            f"cat >{folder}/job.fio\n"
            f"exec {shlex.quote(program)} --output-format=json --output={folder}/report.json "
            f"{folder}/job.fio"
        )
        with machine.background(["sh", "-euc", script]) as process:
            process.send(run.job_file.encode())
            process.close_input()
            run._process = process
            yield run

    @property
    def jobs(self) -> tuple[Job, ...]:
        """With the nonce of each."""
        return self._jobs

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def require_running(self) -> None:
        """Raise CutShort with fio's own words if it ended early."""
        if not self.running:
            raise CutShort(f"fio ended early: {self._last_words()}")

    def stop(self) -> None:
        """Ask fio to end; it finishes what is outstanding and reports."""
        if self._process is not None and self._process.running:
            self._process.signal(signal.SIGINT)

    def finish(self, timeout_s: float = ENDING_TIMEOUT_S) -> RunResult:
        """Wait for the end and fetch report and logs.

        Raises FioHangs if fio does not end in time, WorkloadError if its logs make no sense.
        """
        if self._process is None:
            raise WorkloadError("fio was not started")
        try:
            done = self._process.wait(timeout_s)
        except CommandTimedOut as error:
            raise FioHangs(
                f"fio hangs: {error.message}",
                hint="its I/O neither completes nor fails; the map may queue with no path left",
            ) from None
        return self._fetch(done)

    def _fetch(self, done: Completed) -> RunResult:
        folder = self._folder
        names = [f"{folder}/{job.name}_lat.{n}.log" for n, job in enumerate(self._jobs, start=1)]
        there = [name for name, job in zip(names, self._jobs, strict=True) if job.logged]
        io_logs = {j.name: f"{folder}/{j.name}.iolog" for j in self._jobs if j.keeps_a_ledger}
        try:
            content = self._machine.download([f"{folder}/report.json", *there, *io_logs.values()])
        except CommandFailed:
            said = done.stderr.strip() or "it said nothing"
            return self.nothing_left(
                f"fio left no report or no logs (exit status {done.status}): {said}"
            )
        text = content[f"{folder}/report.json"].decode(errors="replace")
        try:
            report, report_text, words = parse_report(text)
        except WorkloadError as error:  # it was killed while it wrote that
            return self.nothing_left(error.message)
        return RunResult(
            jobs=self._jobs,
            job_file=self.job_file,
            report=report,
            report_text=report_text,
            complaints=done.stderr + words,
            logs=tuple(parse_latency_log(content.get(name, b"").decode()) for name in names),
            issued={job: parse_io_log(content[name].decode()) for job, name in io_logs.items()},
        )

    def nothing_left(self, broken: str) -> RunResult:
        """The result of a run of which nothing is known but why."""
        return RunResult(
            jobs=self._jobs,
            job_file=self.job_file,
            report=FioReport("", ()),
            report_text="",
            complaints="",
            logs=tuple(parse_latency_log("") for _ in self._jobs),
            issued={},
            broken=broken,
        )

    def _last_words(self) -> str:
        if self._process is None:
            return "not started"
        done = self._process.wait(ENDING_TIMEOUT_S)
        said = self._machine.run(["cat", f"{self._folder}/report.json"], check=False).stdout
        words = (f"exit status {done.status}", done.stderr, said[: said.find("{")])
        return "; ".join(filter(None, map(str.strip, words)))


def read_back(
    machine: Machine, places: Mapping[str, str], ledgers: Sequence[tuple[Job, Ledger]]
) -> dict[str, Looks]:
    """Read every block whose write was acknowledged, bypassing caches; the looks by job.

    `places` are devices by name: the map first, then its paths.
    """
    source = files("harness.workload").joinpath("reader.py").read_text()
    devices = [f"{place}={device}" for place, device in places.items()]
    done = machine.run(
        ["python3", "-I", "-S", "-c", source, *devices],
        stdin=b"".join(_wanted(job, ledger) for job, ledger in ledgers),
        timeout_s=_READ_BACK_TIMEOUT_S,
    )
    names = (job.name for job, _ in ledgers)
    return dict(zip(names, parse_looks(done.stdout), strict=True))


def _wanted(job: Job, ledger: Ledger) -> bytes:
    """What `reader.py` takes for one job."""
    offsets = "".join(f"{offset}\n" for offset in ledger.blocks)
    return f"job {job.block_size} {job.nonce}\n{offsets}".encode()
