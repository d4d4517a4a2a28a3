"""What is fetched when fio is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.config.model import WorkloadConfig
from harness.machine import Completed, LocalMachine
from harness.testbed.lun_layout import Layout
from harness.units import KIB
from harness.workload import Area, FioRun, Job, JobKind
from suites.selftest.unit.fio_on_this_host import FIO, folder_for_direct_io

REPORT = Path(__file__).parent / "recorded/fio-3.33-report.json"


class Disk:
    """A machine with the report of three jobs, and a log of one line wherever one is asked for."""

    def __init__(self, report: bytes = REPORT.read_bytes()) -> None:
        self.report = report
        self.asked_for: list[str] = []

    def download(self, names: Sequence[str]) -> dict[str, bytes]:
        self.asked_for = [Path(name).name for name in names]
        content = {
            ".json": self.report,
            ".log": b"4711042, 1830210, 1, 16384, 98304, 0\n",
            ".iolog": b"fio version 3 iolog\n",
        }
        return {name: content[Path(name).suffix] for name in names}


def test_a_job_without_a_log_has_an_empty_one() -> None:
    """The others keep theirs, each under the number of its job."""
    machine: Any = Disk()
    write, read, _, probe = Layout.of(WorkloadConfig()).mixed(seed=1)
    run = FioRun(machine, "/dev/mapper/x", [write, replace(read, logged=False), probe])
    result = run._fetch(Completed(("fio",), 0, b"", b"", 1.0))
    assert machine.asked_for == [
        *("report.json", "write_lat.1.log", "probe_lat.3.log"),
        "write.iolog",
    ]
    assert [len(log) for log in result.logs] == [1, 0, 1]


def test_a_report_that_fio_could_not_finish_leaves_a_result_that_says_so() -> None:
    """It was killed while it wrote; the run is judged all the same."""
    machine: Any = Disk(REPORT.read_bytes()[:500])
    run = FioRun(machine, "/dev/mapper/x", Layout.of(WorkloadConfig()).mixed(seed=1))
    result = run._fetch(Completed(("fio",), -9, b"", b"", 1.0))
    assert result.broken.startswith("fio's report cannot be read")
    assert [len(log) for log in result.logs] == [0, 0, 0, 0]
    assert result.ledgers() == []


@pytest.mark.parametrize("name", ["plain", "1ACME#1+2=3@4:5", r"1ACME\x2c5"])
def test_the_fio_that_is_named_writes_to_the_device_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A real one, by its path."""
    if FIO is None:
        pytest.skip("needs fio")
    with folder_for_direct_io() as folder:
        device, program = folder / name, folder / "my-fio"
        device.write_bytes(bytes(64 * KIB))
        program.write_text(f'#!/bin/sh\n: >{folder}/called\nexec {FIO} "$@"\n')
        program.chmod(0o755)
        job = Job("fill", JobKind.WRITE, Area(0, 64 * KIB), 16 * KIB, 1, verified=True)
        started = FioRun.started(
            LocalMachine(), str(device), [job], folder=str(folder / "fio"), program=str(program)
        )
        with started as fio:
            fio.finish().require_clean()
        assert device.stat().st_size == 64 * KIB
        assert device.read_bytes().strip(b"\0")
        assert (folder / "called").exists()
