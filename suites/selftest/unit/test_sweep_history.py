"""What becomes of what a sweep saw: looks and writes, and the bytes that are no load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.register import judge_register
from harness.analysis.without_sweep import without_sweep
from harness.config.model import WorkloadConfig
from harness.measurements import (
    MAP,
    NEVER_NS,
    CompletionLog,
    Found,
    LookLog,
    PathCounters,
    WriteHistory,
    WriteLog,
)
from harness.testbed.lun_layout import Layout
from harness.units import KIB, MIB, NS_PER_MS
from harness.workload import Area, Job, JobKind, Ledger
from harness.workload.history import JobWrites, write_history
from harness.workload.ledger import Look, Looks
from harness.workload.report import IssuedWrites
from harness.workload.sweep import Sightings, swept

BLOCK = 16 * KIB
SECONDS = 3.0
AREA = Area(64 * KIB, 64 * BLOCK)
JOB = Job(
    "write", JobKind.RANDOM_WRITE, AREA, BLOCK, 4, 40, verified=True, seconds=SECONDS, steady=True
).marked()


def test_only_steady_jobs_of_one_block_size_are_swept() -> None:
    """All others write where it is not known how long a block stays."""
    writes, reads, hot, probe = (job.marked() for job in Layout.of(WorkloadConfig()).mixed(1))
    assert swept((writes, reads, hot, probe)) == (writes, hot)
    assert swept((replace(writes, verified=False), reads)) == ()
    assert swept((writes, replace(hot, block_size=8 * KIB))) == ()


def log_of(*rows: tuple[int, int, int]) -> CompletionLog:
    """Writes to (block), which ended at ms and took ms."""
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return CompletionLog(
        at_ns=columns[:, 1] * NS_PER_MS,
        latency_ns=columns[:, 2] * NS_PER_MS,
        offset=columns[:, 0] * BLOCK,
        size=np.full(len(columns), BLOCK),
        is_write=np.ones(len(columns), dtype=np.bool_),
        resolution_ns=NS_PER_MS,
    )


def issued_of(*writes: tuple[int, int]) -> IssuedWrites:
    columns = np.array(writes, dtype=np.int64).reshape(-1, 2)
    return IssuedWrites(columns[:, 0] * BLOCK, columns[:, 1] * NS_PER_MS)


def test_the_nth_write_to_a_block_is_the_nth_that_ended() -> None:
    """Whatever ended in between; the last of block 0 was never acknowledged."""
    log = log_of((0, 15, 5), (1, 12, 1), (0, 30, 5))
    issued = issued_of((0, 0), (1, 1), (0, 15), (0, 40))
    job = JobWrites(Area(0, MIB), log, issued, Ledger.of(log, issued), None)
    writes = write_history([job], None, BLOCK).writes
    assert (writes.acknowledged_ns[:3] // NS_PER_MS).tolist() == [17, 14, 32]
    assert writes.acknowledged_ns[3] == NEVER_NS


def test_a_look_is_told_by_number_and_time_and_block() -> None:
    """16 bits of a number are not all of it; a number of another block is no write to this."""
    count = 65536 + 20
    issued = IssuedWrites(
        np.arange(count, dtype=np.int64) % 16 * BLOCK, np.arange(count, dtype=np.int64) * NS_PER_MS
    )
    rows = [(n % 16, n + 3, 2) for n in range(count)]
    log = log_of(*rows)
    ledger = Ledger.of(log, issued)
    begun = ledger.begun_ns

    def look(number: int, block: int) -> Look:
        return Look(MAP, "ok", begun + number * NS_PER_MS, number % 65536, block * BLOCK)

    looks = {3: [look(3, 3), look(65539, 3)], 4: [look(5, 4)], 5: [Look(MAP, "torn")]}
    back = Looks({block * BLOCK: seen for block, seen in looks.items()}, {}, {})
    job = JobWrites(Area(0, MIB), log, issued, ledger, back)
    history = write_history([job], None, BLOCK)
    assert history.looks.found.tolist() == [3, 65539, Found.FOREIGN, Found.TORN]
    assert (history.looks.began_ns > history.writes.acknowledged_ns.max()).all()


@pytest.mark.parametrize("after_ns", [0, 1, 499, 999])
def test_the_last_write_is_proven_by_the_reading_at_the_end(after_ns: int) -> None:
    """Whatever is rounded: it began after the last acknowledgement."""
    log, issued = log_of((0, 5, 1)), issued_of((0, 0))
    log = replace(log, at_ns=log.at_ns + after_ns)
    back = Looks({0: [Look(MAP, "ok", 0, 0, 0)]}, {}, {})
    job = JobWrites(Area(0, BLOCK), log, issued, Ledger.of(log, issued), back)
    assert judge_register(write_history([job], None, BLOCK)).proven.tolist() == [True]


def test_the_jobs_of_a_map_are_numbered_one_after_the_other() -> None:
    logs = [(log_of((0, 5, 1)), issued_of((0, 0))), (log_of((9, 7, 1)), issued_of((9, 0)))]
    backs = [Looks({at * BLOCK: [Look(MAP, "ok", 0, 0, 0)]}, {}, {}) for at in (0, 9)]
    areas = [Area(0, BLOCK), Area(9 * BLOCK, BLOCK)]
    jobs = [
        JobWrites(area, log, issued, Ledger.of(log, issued), back)
        for area, (log, issued), back in zip(areas, logs, backs, strict=True)
    ]
    history = write_history(jobs, None, BLOCK)
    assert history.looks.found.tolist() == [0, 1]
    assert judge_register(history).proven.tolist() == [True, True]


def test_what_the_sweep_read_over_a_path_is_not_the_maps() -> None:
    """So a path that carries nothing but looks carries nothing."""
    seen = Sightings(
        places=(MAP, "a"),
        place=np.array([0, 1, 1]),
        found=np.array([0, 0, Found.NO_ANSWER]),
        number=np.array([0, 0, 8]),
        offset=np.zeros(3, dtype=np.int64),
        written_ns=np.zeros(3, dtype=np.int64),
        began_ns=np.array([5, 15, 25]),
        ended_ns=np.array([6, 18, 26]),
    )
    log, issued = log_of((0, 5, 1)), issued_of((0, 0))
    job = JobWrites(Area(0, MIB), log, issued, Ledger.of(log, issued), None)
    history = write_history([job], seen, BLOCK)
    at_ns = np.array([10, 16, 20, 30])
    # The look that began at 25 is in the counters of the sample of 20, whose clock was read first.
    read = np.array([100, 100, 100 + 9 * BLOCK, 150 + 9 * BLOCK])
    counters = PathCounters("a", ("sda",), at_ns, read, np.zeros(4, dtype=np.int64))
    (rest,) = without_sweep([counters], history)
    assert rest.bytes_read.tolist() == [100, 100, 100, 150]
    (other,) = without_sweep([replace(counters, path="b")], history)
    assert other.bytes_read.tolist() == read.tolist()


def looked_at_the_map(*began_ns: int) -> WriteHistory:
    """A look at one block of the map at each time."""
    count = len(began_ns)
    nothing = np.zeros(count, dtype=np.int64)
    looks = LookLog((MAP, "a", "b"), nothing, nothing, nothing, np.array(began_ns), nothing)
    writes = WriteLog(nothing[:0], nothing[:0], nothing[:0])
    return WriteHistory(writes, looks, read=np.full(count, BLOCK))


def test_what_the_sweep_read_of_the_map_is_taken_off_all_paths_alike() -> None:
    """Nobody knows over which of them it came."""
    at_ns, nothing = np.array([10, 20, 30]), np.zeros(3, dtype=np.int64)
    a = PathCounters("a", ("sda",), at_ns, np.array([7, 7 + 3 * BLOCK, 7 + 3 * BLOCK]), nothing)
    b = PathCounters("b", ("sdb",), at_ns, np.array([0, BLOCK, 2 * BLOCK]), nothing)
    first, second = without_sweep([a, b], looked_at_the_map(12))
    assert first.bytes_read.tolist() == [7, 7 + 9 * BLOCK // 4, 7 + 9 * BLOCK // 4]
    assert second.bytes_read.tolist() == [0, 3 * BLOCK // 4, 7 * BLOCK // 4]


def test_what_the_sweep_read_of_the_map_may_be_counted_later() -> None:
    """Never more than the paths carried, and nothing before the first sample."""
    at_ns, nothing = np.array([10, 20, 30]), np.zeros(3, dtype=np.int64)
    only = PathCounters("a", ("sda",), at_ns, np.array([0, BLOCK, 4 * BLOCK]), nothing)
    (rest,) = without_sweep([only], looked_at_the_map(3, 12, 13, 14))
    assert rest.bytes_read.tolist() == [0, 0, BLOCK]
