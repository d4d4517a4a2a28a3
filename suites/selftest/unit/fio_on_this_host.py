"""Runs the installed fio on a small file of this host, as the harness runs it on a map."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.measurements import CompletionLog
from harness.workload import FioReport, Job
from harness.workload.job import render_job_file
from harness.workload.report import (
    IssuedWrites,
    parse_io_log,
    parse_latency_log,
    parse_report,
)
from suites.selftest import needs

FIO = shutil.which("fio")


@dataclass(frozen=True)
class Outcome:
    """What fio left behind."""

    status: int
    report_text: str
    report: FioReport
    complaints: str
    log_texts: tuple[str, ...]
    logs: tuple[CompletionLog, ...]
    issued: dict[str, IssuedWrites]


@contextmanager
def folder_for_direct_io() -> Iterator[Path]:
    """A folder on a file system that has O_DIRECT, which the usual /tmp may lack."""
    with tempfile.TemporaryDirectory(prefix="pathproof-selftest-", dir="/var/tmp") as name:
        probe = Path(name) / "probe"
        probe.touch()
        try:
            os.close(os.open(probe, os.O_RDONLY | os.O_DIRECT))
        except OSError:
            pytest.skip(needs.DIRECT_IO)
        yield Path(name)


def run_fio(device: Path, *jobs: Job) -> Outcome:
    """Run jobs on a file to their end; skips where fio is not installed."""
    if FIO is None:
        pytest.skip("needs fio")
    folder = device.parent
    (folder / "job.fio").write_text(render_job_file(str(device), jobs, str(folder)))
    report = folder / "report.json"
    io_logs = {job.name: folder / f"{job.name}.iolog" for job in jobs if job.keeps_a_ledger}
    for file in io_logs.values():
        file.unlink(missing_ok=True)  # fio appends
    argv = [FIO, "--output-format=json", f"--output={report}", str(folder / "job.fio")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    parsed = parse_report(report.read_text())
    files = [folder / f"{job.name}_lat.{n}.log" for n, job in enumerate(jobs, start=1)]
    log_texts = tuple(file.read_text() for file in files)
    return Outcome(
        status=done.returncode,
        report_text=parsed.json,
        report=parsed.report,
        complaints=done.stderr + parsed.words,
        log_texts=log_texts,
        logs=tuple(map(parse_latency_log, log_texts)),
        issued={name: parse_io_log(file.read_text()) for name, file in io_logs.items()},
    )
