"""fio's report, complaints and logs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import WorkloadError
from harness.measurements import ClockReading
from harness.observe import Clock
from harness.units import KIB, MIB, NS_PER_MS
from harness.workload import Area, Job, JobKind, RunResult
from harness.workload.report import (
    FioJobReport,
    count_verify_errors,
    parse_io_log,
    parse_latency_log,
    parse_report,
)
from suites.selftest.unit.fio_on_this_host import folder_for_direct_io, run_fio

RECORDED = Path(__file__).parent / "recorded"
ROWS = st.lists(
    st.tuples(
        st.integers(0, 10**10),
        st.integers(0, 10**12),
        st.integers(0, 1),
        st.integers(1, 2**22),
        st.integers(0, 2**44),
        st.integers(0, 3),
    )
)
FILL = Job("fill", JobKind.WRITE, Area(0, 256 * KIB), 16 * KIB, 4, verified=True)
READ = Job("read", JobKind.READ, Area(0, 256 * KIB), 16 * KIB, 4, verified=True)


def test_a_recorded_report_is_understood() -> None:
    """fio 3.33, three jobs side by side."""
    report, text, words = parse_report((RECORDED / "fio-3.33-report.json").read_text())
    assert (json.loads(text)["fio version"], words) == ("fio-3.33", "")
    assert report.version == "fio-3.33"
    assert report.jobs == (
        FioJobReport("write", 0, 0, 0, 0, 1459, 23904256, 18.243),
        FioJobReport("read", 0, 0, 912, 3735552, 0, 0, 18.242),
        FioJobReport("probe", 0, 0, 2736, 11206656, 0, 0, 18.243),
    )


def test_a_job_has_a_rate() -> None:
    """Of what it read and wrote; fio says the same of the recorded read job."""
    read = parse_report((RECORDED / "fio-3.33-report.json").read_text()).report.jobs[1]
    assert read.bytes_per_s == pytest.approx(204777, abs=1)
    assert FioJobReport("mixed", 0, 0, 1, 4096, 2, 8192, 2.0).bytes_per_s == 6144
    assert FioJobReport("idle", 0, 0, 0, 0, 0, 0, 0.0).bytes_per_s == 0


@pytest.mark.parametrize(
    "before",
    [
        "",
        "fio: pid=4711, got signal=9\n",
        "fio: pid=0, err=5/file:io_u.c:1787, func=io_u error, error=Input/output error\n",
        "fio: odd name {a}\n",
    ],
)
@pytest.mark.parametrize("after", ["", "fio: file hash not empty on exit\n"])
def test_complaints_around_the_report_are_kept(before: str, after: str) -> None:
    """fio writes both into one file."""
    recorded = (RECORDED / "fio-3.33-report.json").read_text()
    parsed = parse_report(before + recorded + after)
    assert parsed.report == parse_report(recorded).report
    assert parsed.words == before + after
    assert json.loads(parsed.json) == json.loads(recorded)


@pytest.mark.parametrize("text", ["", "{}", "fio: no such file\n", '{"fio version": "x"}', "{,"])
def test_anything_else_is_refused_with_its_beginning(text: str) -> None:
    """fio's own words are the best explanation."""
    with pytest.raises(WorkloadError) as refusal:
        parse_report(text)
    assert repr(text) in refusal.value.message


def test_a_truncated_report_is_refused() -> None:
    """fio was killed while it wrote."""
    text = (RECORDED / "fio-3.33-report.json").read_text()
    with pytest.raises(WorkloadError, match="cannot be read"):
        parse_report(text[:-200])


@given(ROWS)
def test_every_line_of_a_log_is_an_io(rows: list[tuple[int, ...]]) -> None:
    """In the order of completion, lines of one millisecond in the order of the log."""
    text = "".join(", ".join(map(str, row)) + "\n" for row in rows)
    log = parse_latency_log(text)
    rows = sorted(rows, key=lambda row: row[0])
    assert len(log) == len(rows)
    assert log.at_ns.tolist() == [row[0] * NS_PER_MS for row in rows]
    assert log.latency_ns.tolist() == [row[1] for row in rows]
    assert log.is_write.tolist() == [row[2] == 1 for row in rows]
    assert log.size.tolist() == [row[3] for row in rows]
    assert log.offset.tolist() == [row[4] for row in rows]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1, 2, 3\n", 1),
        ("1, 2, 1, 4096, 0, 0\n5, 6,", 2),
        ("1, 2, w, 4096, 0, 0\n", 1),
        ("killed\n", 1),
        ("1, 2, 1, 4096, 0, 0\n" + "1, 2, 1, 4096, 0\n" * 6, 2),
    ],
)
def test_a_log_of_another_form_is_refused(text: str, line: int) -> None:
    """An average, a truncated line, another version's columns, though their total divides."""
    with pytest.raises(WorkloadError, match=f"not a per-I/O log of fio: line {line} "):
        parse_latency_log(text)


def test_a_job_that_the_report_lacks_has_no_count() -> None:
    """Its stream says so, for the verdict to be unknown; a first I/O is refused, with its name."""
    recorded = parse_report((RECORDED / "fio-3.33-report.json").read_text()).report
    jobs = tuple(replace(FILL, name=name) for name in ("write", "gone"))
    logs = (parse_latency_log("1, 2, 1, 4096, 0, 0\n"),) * 2
    result = RunResult(jobs, "", recorded, "", "", logs, {})
    streams = result.streams(Clock((ClockReading("here", 0, 0, 0),)))
    assert [(s.name, s.reported) for s in streams] == [("write", 1459), ("gone", None)]
    with pytest.raises(WorkloadError, match="fio's report lacks job 'gone'"):
        result.require_clean()


def test_complaints_of_verification_are_counted() -> None:
    """One a block, also where both streams hold it; continuation lines are none."""
    text = (
        "verify: bad magic header 0, wanted acca at file /dev/dm-0 offset 15237120, length 4096\n"
        "md5: verify failed at file /dev/dm-0 offset 0, length 16384\n"
        "       Expected CRC: 1f\n"
        "       Received CRC: 2e\n"
        "fio: pid=7, err=84/file:io_u.c:2250, func=io_u_queued_complete, error=Invalid\n"
    )
    assert count_verify_errors(text) == 2
    assert count_verify_errors(text + text) == 2
    assert count_verify_errors("") == 0


def test_the_real_fio_logs_every_io_that_it_reports() -> None:
    """Reads that verify writes, too. Each stream has both counts, so that they can be compared."""
    job = Job("mixed", JobKind.RANDOM_WRITE, Area(0, 4 * MIB), 16 * KIB, 4, verified=True)
    with folder_for_direct_io() as folder:
        done = run_fio(folder / "disk", job)
    result = RunResult(
        (job,), "", done.report, done.report_text, done.complaints, done.logs, done.issued
    )
    (stream,) = result.streams(Clock((ClockReading("here", 0, 0, 0),)))
    assert stream.reported == len(stream.completions) > 256
    assert (~stream.completions.is_write).any()


@pytest.mark.parametrize(("blocks", "depth"), [(1025, 1), (1027, 4)])
def test_no_io_is_lost_where_the_log_of_the_real_fio_grows(blocks: int, depth: int) -> None:
    """The job ends just behind the 1024 entries for which fio has room at first."""
    area = Area(0, blocks * 4 * KIB)
    with folder_for_direct_io() as folder:
        done = run_fio(folder / "disk", Job("edge", JobKind.WRITE, area, 4 * KIB, depth))
    assert [len(log) for log in done.logs] == [done.report.jobs[0].write_ios] == [blocks]


@pytest.mark.parametrize("damage", [b"\0", b"\xff" * 16384])
def test_damage_shows_in_what_the_real_fio_says(damage: bytes) -> None:
    """One block is damaged between writing and verified reading."""
    with folder_for_direct_io() as folder:
        device = folder / "disk"
        written = run_fio(device, FILL)
        assert (written.status, written.complaints) == (0, "")
        with device.open("r+b") as disk:
            disk.seek(5 * 16 * KIB + (100 if len(damage) == 1 else 0))
            here = disk.read(1)
            disk.seek(-1, 1)
            disk.write(bytes([here[0] ^ 0xFF]) if len(damage) == 1 else damage)
        outcome = run_fio(device, READ)
    assert outcome.status != 0
    assert outcome.report.jobs[0].error == 84  # EILSEQ
    assert count_verify_errors(outcome.complaints) == 1


IO_LOG = """\
fio version 3 iolog
2 /dev/mapper/x add
141 /dev/mapper/x open
177 /dev/mapper/x write 1605632 16384
5428 /dev/mapper/x read 1769472 16384
6001 /dev/mapper/x write 1769472 16384
7000 /dev/mapper/x close
"""


def test_the_log_of_issued_io_has_the_writes_in_their_order() -> None:
    """What was read, and when the file was opened, is left out."""
    issued = parse_io_log(IO_LOG)
    assert issued.offset.tolist() == [1605632, 1769472]
    assert issued.after_ns.tolist() == [177_000, 6_001_000]


@pytest.mark.parametrize("text", ["", "fio version 2 iolog\n/dev/mapper/x write 0 4096\n"])
def test_a_log_of_issued_io_without_times_is_refused(text: str) -> None:
    """fio before 3.31 wrote such a log."""
    with pytest.raises(WorkloadError, match="version 3"):
        parse_io_log(text)
