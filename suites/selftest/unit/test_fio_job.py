"""Job files, run by the real fio on a small file."""

from __future__ import annotations

import configparser
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.config.model import WorkloadConfig
from harness.testbed.lun_layout import Layout
from harness.units import KIB, MIB, NS_PER_MS
from harness.workload import Area, Job, JobKind
from harness.workload import job as job_module
from harness.workload.job import render_job_file
from harness.workload.reader import inspect
from suites.selftest.unit.fio_on_this_host import Outcome, folder_for_direct_io, run_fio

LAYOUT = Layout.of(WorkloadConfig(region=16 * MIB))
SECONDS = 1.0
WRITES = Job("w", JobKind.RANDOM_WRITE, Area(MIB, MIB), 16 * KIB, 4, verified=True, seconds=0.5)


def options(*jobs: Job) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(render_job_file("/dev/mapper/x", jobs, "/run/f"))
    return parser


@pytest.fixture(scope="module")
def device() -> Iterator[Path]:
    with folder_for_direct_io() as folder:
        file = folder / "disk"
        with file.open("wb") as disk:
            disk.truncate(20 * MIB)
        yield file


@pytest.fixture(scope="module")
def filled(device: Path) -> Outcome:
    return run_fio(device, LAYOUT.fill())


@pytest.fixture(scope="module")
def mixed(device: Path, filled: Outcome) -> tuple[Outcome, int, int]:
    """The outcome of the three jobs of every test, and when it began and ended."""
    before_ns = time.monotonic_ns()
    outcome = run_fio(device, *LAYOUT.mixed(seed=7, seconds=SECONDS))
    return outcome, before_ns, time.monotonic_ns()


def test_every_job_has_its_section() -> None:
    """Its log is named after it; what holds for all stands in [global]."""
    said = options(WRITES, LAYOUT.probe(1, 1))
    assert said.sections() == ["global", "w", "probe"]
    assert said["w"]["write_lat_log"] == "/run/f/w"
    assert said["global"]["filename"] == "/dev/mapper/x"
    assert said["global"]["direct"] == "1"
    assert said["global"]["log_avg_msec"] == "0"


def test_only_what_is_asked_for_is_said() -> None:
    """An unpaced, unverified job that runs once has none of these keys."""
    plain = options(Job("r", JobKind.READ, Area(0, MIB), 4 * KIB, 1))["r"]
    for key in (
        "rate_iops",
        "verify",
        "verify_interval",
        "runtime",
        "time_based",
        "verify_backlog",
        "write_iolog",
    ):
        assert key not in plain
    said = options(WRITES)["w"]
    assert (said["verify"], said["runtime"], said["rw"]) == ("md5", "500ms", "randwrite")
    assert "verify_backlog" in said
    assert said["write_iolog"] == "/run/f/w.iolog"
    read = Job("r", JobKind.READ, Area(0, MIB), 4 * KIB, 1, verified=True, header_every=KIB)
    assert options(read)["r"]["verify_interval"] == "1024"
    assert "verify_backlog" not in options(read)["r"]
    assert "write_lat_log" not in options(replace(read, logged=False))["r"]


def test_the_fill_runs_once_over_its_area(filled: Outcome) -> None:
    """Every byte, and nothing outside."""
    (log,) = filled.logs
    assert filled.status == 0
    written = log.offset[log.is_write].tolist()
    area = LAYOUT.read_area
    assert sorted(written) == list(range(area.offset, area.end, 64 * KIB))


def test_what_fio_reads_back_at_the_end_of_a_pass_is_timed_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each from its own submission, and not from the last use of its slot."""
    template = job_module._TEMPLATE.replace("verify_backlog=8\n", "")
    assert template != job_module._TEMPLATE
    monkeypatch.setattr(job_module, "_TEMPLATE", template)
    writes = replace(WRITES, area=Area(0, 16 * MIB), seconds=None)
    with folder_for_direct_io() as folder:
        disk = folder / "disk"
        disk.write_bytes(bytes(16 * MIB))
        (log,) = run_fio(disk, writes).logs
    reads = ~log.is_write
    assert np.count_nonzero(reads) == 1024
    lasted_ns = np.ptp(log.at_ns[reads])
    assert np.median(log.latency_ns[reads]) < lasted_ns / 20


def test_the_fill_is_read_back_by_fio(filled: Outcome) -> None:
    """The first I/O of a testbed is verified I/O: as much is read as was written."""
    (report,) = filled.report.jobs
    assert report.read_bytes == report.write_bytes > 0


def test_the_mixed_jobs_run_without_an_error(mixed: tuple[Outcome, int, int]) -> None:
    """The verified reads accept what the fill wrote."""
    outcome, _, _ = mixed
    assert (outcome.status, outcome.complaints) == (0, "")
    assert [(j.name, j.error, j.total_errors) for j in outcome.report.jobs] == [
        ("write", 0, 0),
        ("read", 0, 0),
        ("hot", 0, 0),
        ("probe", 0, 0),
    ]


def test_the_log_holds_every_io(mixed: tuple[Outcome, int, int]) -> None:
    """As many as the report counts; what writes read for verification is told apart."""
    outcome, _, _ = mixed
    for job, log in zip(outcome.report.jobs, outcome.logs, strict=True):
        assert np.count_nonzero(log.is_write) == job.write_ios
        assert job.name in {"write", "hot"} or len(log) == job.read_ios
        assert int(log.size[log.is_write].sum()) == job.write_bytes


def test_the_io_log_has_every_write_in_the_order_of_issue(
    mixed: tuple[Outcome, int, int],
) -> None:
    """As many as the report counts; times rise, and lie within the run."""
    outcome, before_ns, after_ns = mixed
    (write,) = (job for job in outcome.report.jobs if job.name == "write")
    issued, log = outcome.issued["write"], outcome.logs[0]
    assert len(issued.offset) == write.write_ios > 0
    assert sorted(issued.offset) == sorted(log.offset[log.is_write])
    assert (np.diff(issued.after_ns) >= 0).all()
    assert 0 <= issued.after_ns[-1] <= after_ns - before_ns


def test_the_log_is_on_the_monotonic_clock(mixed: tuple[Outcome, int, int]) -> None:
    """From the first submission to the last completion, to fio's millisecond."""
    outcome, before_ns, after_ns = mixed
    for log in outcome.logs:
        assert log.at_ns.min() - log.latency_ns[log.at_ns.argmin()] >= before_ns - 2 * NS_PER_MS
        assert log.at_ns.max() <= after_ns
        assert (np.diff(log.at_ns) >= 0).all()


def test_every_job_stays_in_its_area(mixed: tuple[Outcome, int, int]) -> None:
    """Or verification would blame the storage."""
    outcome, _, _ = mixed
    for job, log in zip(LAYOUT.mixed(7), outcome.logs, strict=True):
        assert log.offset.min() >= job.area.offset
        assert (log.offset + log.size).max() <= job.area.end
        assert (log.size == job.block_size).all()


def test_jobs_are_paced(mixed: tuple[Outcome, int, int]) -> None:
    """Slower than asked for on a busy host, but never faster."""
    outcome, _, _ = mixed
    for job, report in zip(LAYOUT.mixed(7), outcome.report.jobs, strict=True):
        assert job.pace is not None
        passes = 2 if job.name == "write" else 1
        iops = job.pace / job.block_size / passes
        asked_for = report.write_ios if job.kind.writes else report.read_ios
        assert 0.3 * iops * SECONDS <= asked_for <= 1.3 * iops * SECONDS + job.depth


def test_writes_are_verified_while_they_go_on(mixed: tuple[Outcome, int, int]) -> None:
    """Soon after a block was written it is read back; the last of them may be left."""
    outcome, _, _ = mixed
    (write,) = (job for job in outcome.report.jobs if job.name == "write")
    assert write.read_ios >= write.write_ios // 2 > 0


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 12345])
def test_each_block_is_written_again_after_as_many_writes_as_there_are_blocks(
    device: Path, filled: Outcome, seed: int
) -> None:
    """From the first write on, so that every block stays as long as the others take."""
    writes, reads, hot, _ = LAYOUT.mixed(seed)
    few = replace(writes.area, size=16 * writes.block_size)
    fast = replace(writes, area=few, iops=None, seconds=3)
    warm = replace(hot, area=replace(hot.area, size=few.size), pause_s=0.001, seconds=3)
    outcome = run_fio(device, *(job.marked() for job in (fast, replace(reads, seconds=3), warm)))
    for name, blocks in (("write", 16), ("hot", 16)):
        order = outcome.issued[name].offset.tolist()
        assert len(order) > 2 * blocks
        assert order[blocks:] == order[:-blocks]
        assert len(set(order[:blocks])) == blocks


def test_every_verified_block_has_the_nonce_of_its_run(device: Path, filled: Outcome) -> None:
    """At its end; that of another run is not taken for it."""
    hot = replace(LAYOUT.mixed(1)[2], seconds=0.1, pause_s=0.001).marked()
    other = replace(hot, nonce="").marked()
    outcome = run_fio(device, hot)
    content = device.read_bytes()
    for offset in set(outcome.issued["hot"].offset.tolist()):
        block = content[offset : offset + hot.block_size]
        assert inspect(block, offset, bytes.fromhex(hot.nonce))[0] == "ok"
        assert inspect(block, offset, bytes.fromhex(other.nonce))[0] == "earlier"


def test_the_seed_decides_the_offsets(device: Path, filled: Outcome) -> None:
    """A failed run can be repeated; fio ignores the seed unless randrepeat is off."""

    def offsets(seed: int) -> list[int]:
        job = LAYOUT.probe(0.5, seed)
        order = run_fio(device, job).logs[0]
        return [int(offset) for offset in order.offset[:20]]

    assert offsets(3) == offsets(3) != offsets(4)


def test_the_pace_counts_what_is_read_to_verify() -> None:
    """As fio's log has it: each block written is read back once."""
    writes, reads, hot, _ = Layout.of(WorkloadConfig()).mixed(seed=0)
    assert writes.pace == 2 * 80 * 4 * KIB
    assert hot.pace == 20 * 4 * KIB
    assert reads.pace == 50 * 4 * KIB
    assert replace(writes, iops=None).pace is None
