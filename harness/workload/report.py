"""fio's JSON report and per-I/O logs, as frozen data. Source: fio(1), "JSON output"."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.errors import WorkloadError
from harness.measurements import CompletionLog, Ints
from harness.units import NS_PER_MS, NS_PER_US

_LOG_COLUMNS = 6
_LOG_LINE = re.compile(r"\d+(, \d+){5}")
_IO_LOG_HEADER = "fio version 3 iolog\n"
_MS_PER_S = 1000


@dataclass(frozen=True)
class FioJobReport:
    """One job's totals. `error` is an errno, 0 for none; sizes in bytes, `runtime_s` of its I/O."""

    name: str
    error: int
    total_errors: int
    read_ios: int
    read_bytes: int
    write_ios: int
    write_bytes: int
    runtime_s: float

    @property
    def bytes_per_s(self) -> float:
        """Read and written; 0 if the job did no I/O."""
        total = self.read_bytes + self.write_bytes
        return total / self.runtime_s if self.runtime_s else 0.0


@dataclass(frozen=True)
class FioReport:
    """A whole run: fio's version and its jobs."""

    version: str
    jobs: tuple[FioJobReport, ...]

    def of(self, name: str) -> FioJobReport | None:
        """The totals of one job; None if the report lacks it."""
        return next((job for job in self.jobs if job.name == name), None)


class ParsedReport(NamedTuple):
    """fio's report, its JSON text, and the words that fio printed before and after it."""

    report: FioReport
    json: str
    words: str


def parse_report(text: str) -> ParsedReport:
    """The report in what fio printed: JSON, with lines of complaint before and after it.

    Real lines: `fio: pid=4711, got signal=9` before, `fio: file hash not empty on exit` after.
    Raises WorkloadError, with the start of the text, for anything else.
    """
    begin = re.search(r"^\{", text, re.MULTILINE)
    start = begin.start() if begin else 0
    try:
        raw, end = json.JSONDecoder().raw_decode(text, start)
        report = FioReport(
            version=raw["fio version"],
            jobs=tuple(
                FioJobReport(
                    name=job["jobname"],
                    error=job["error"],
                    total_errors=job.get("total_err", 0),
                    read_ios=job["read"]["total_ios"],
                    read_bytes=job["read"]["io_bytes"],
                    write_ios=job["write"]["total_ios"],
                    write_bytes=job["write"]["io_bytes"],
                    runtime_s=max(job["read"]["runtime"], job["write"]["runtime"]) / _MS_PER_S,
                )
                for job in raw["jobs"]
            ),
        )
        return ParsedReport(report, text[start:end], text[:start] + text[end:].lstrip("\n"))
    except (ValueError, KeyError, TypeError) as error:  # JSON of another shape
        raise WorkloadError(f"fio's report cannot be read ({error!r}): {text[:500]!r}") from None


def count_verify_errors(stderr: str) -> int:
    """Blocks whose verification failed, by fio's complaints, which it may print twice.

    Real output: `verify: bad magic header 0, wanted acca at file /dev/dm-0 offset 15237120, …`
    """
    return len(set(re.findall(r"^(?:verify|md5): .*", stderr, re.MULTILINE)))


def parse_latency_log(text: str) -> CompletionLog:
    """A per-I/O latency log; its times are those of the machine that ran fio.

    Real lines (ms, latency in ns, 0 read or 1 write, bytes, offset, priority):

        4711042, 1830210, 1, 16384, 98304, 0

    Raises WorkloadError, which names the line, if one has another form.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if not _LOG_LINE.fullmatch(line):
            raise WorkloadError(
                f"not a per-I/O log of fio: line {number} does not have "
                f"{_LOG_COLUMNS} numbers: {line[:200]!r}"
            )
    fields = text.replace(",", " ").split()
    numbers = np.array(fields, dtype=np.int64).reshape(-1, _LOG_COLUMNS)
    numbers = numbers[np.argsort(numbers[:, 0], kind="stable")]
    return CompletionLog(
        at_ns=numbers[:, 0] * NS_PER_MS,
        latency_ns=numbers[:, 1],
        is_write=numbers[:, 2] == 1,
        size=numbers[:, 3],
        offset=numbers[:, 4],
        resolution_ns=NS_PER_MS,
    )


@dataclass(frozen=True, eq=False)
class IssuedWrites:
    """Every write of a job in the order of issue, so that fio's number of each is its index.

    `after_ns` is when it was issued, since fio opened its log.
    """

    offset: Ints
    after_ns: Ints


def parse_io_log(text: str) -> IssuedWrites:
    """The writes in fio's log of issued I/O, version 3 (since fio 3.31).

    Real lines, times in microseconds:

        fio version 3 iolog
        141 /dev/mapper/x open
        177 /dev/mapper/x write 1605632 16384
        5428 /dev/mapper/x read 1769472 16384

    Raises WorkloadError for another version.
    """
    if not text.startswith(_IO_LOG_HEADER):
        raise WorkloadError(f"not fio's log of issued I/O, version 3: {text[:200]!r}")
    writes = re.findall(r"^(\d+) \S+ write (\d+) \d+$", text, re.MULTILINE)
    columns = np.array(writes, dtype=np.int64).reshape(-1, 2)
    return IssuedWrites(offset=columns[:, 1], after_ns=columns[:, 0] * NS_PER_US)
