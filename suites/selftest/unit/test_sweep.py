"""The sweeper as the program that it is, beside a real fio; and what becomes of what it saw."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from harness.analysis.blind_time import gaps, longest, under_watch
from harness.analysis.register import Keys, judge_register
from harness.analysis.without_sweep import without_sweep
from harness.config.model import WorkloadConfig
from harness.deadline import Deadline
from harness.machine import LocalMachine
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
from harness.observe.sample import DiskSample, Sample
from harness.testbed.lun_layout import Layout
from harness.testbed.sweeps import Sweeps
from harness.units import KIB, MIB, NS_PER_MS, NS_PER_S
from harness.workload import Area, Job, JobKind, Ledger
from harness.workload import sweeper as sweeper_module
from harness.workload.history import _PROBLEMS, JobWrites, write_history
from harness.workload.ledger import Look, Looks
from harness.workload.programs import sweeper
from harness.workload.reader import Place
from harness.workload.report import IssuedWrites
from harness.workload.sweep import Sightings, Sweep, Wanted, parse_sightings, swept
from harness.workload.sweeper import Sweep as Sweeper
from harness.workload.sweeper import Watcher
from suites.selftest.unit.fio_on_this_host import Outcome, folder_for_direct_io, run_fio

BLOCK = 16 * KIB
SECONDS = 3.0
AREA = Area(64 * KIB, 64 * BLOCK)
JOB = Job(
    "write", JobKind.RANDOM_WRITE, AREA, BLOCK, 4, 40, verified=True, seconds=SECONDS, steady=True
).marked()


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_for_direct_io() as path:
        (path / "disk").write_bytes(bytes(2 * MIB))
        yield path


def told(places: Mapping[str, str], folder: Path, period: float | None = None) -> dict[str, Any]:
    """What the program takes for one map."""
    wanted: Any = Wanted(places, (JOB,), str(folder / "log")).told
    if period is not None:
        wanted["areas"][0]["period"] = period
    return cast(dict[str, Any], wanted)


@contextmanager
def sweeping(
    folder: Path, *, over: Sequence[str] = ("a",), period: float = 0.4, **changes: object
) -> Iterator[Callable[[], Sightings]]:
    """The program, isolated as on a guest; what it saw is there once it was asked for."""
    places = {MAP: str(folder / "disk"), "a": str(folder / "disk"), "gone": "/nowhere"}
    wanted = told(places, folder, period) | changes
    argv = [sys.executable, "-I", "-S", "-c", sweeper(), json.dumps({"map": wanted})]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        if over:
            process.stdin.write(f"over map {' '.join(over)}\n".encode())
            process.stdin.flush()

        def finish() -> Sightings:
            out, _ = process.communicate(timeout=30)
            assert out.endswith(b"done\n")
            return parse_sightings((folder / "log").read_bytes(), tuple(places), BLOCK)

        yield finish


def history_of(outcome: Outcome, seen: Sightings | None) -> WriteHistory:
    issued = outcome.issued["write"]
    log = outcome.logs[0]
    return write_history([JobWrites(AREA, log, issued, Ledger.of(log, issued), None)], seen, BLOCK)


def test_what_fio_writes_is_proven_while_it_writes(folder: Path) -> None:
    """Nothing is wrong, all is proven, and no block is long unseen."""
    with sweeping(folder) as finish:
        outcome = run_fio(folder / "disk", JOB)
        time.sleep(1)
        seen = finish()
    history = history_of(outcome, seen)
    register, keys = judge_register(history), Keys(history)
    unseen = gaps(history, keys)
    assert len(history.writes) >= 100
    assert not register.wrong.any()
    assert register.proven.all()
    assert under_watch(history, unseen, keys, 2.0).all()
    assert 0.3 < longest(unseen, keys, [(0, int(NEVER_NS) // 2)]) < 2
    looked = np.bincount(history.looks.place, minlength=3)
    assert looked[0] > 100
    assert looked[1] > 100
    assert looked[2] == 0


def test_what_is_wrong_for_a_second_is_seen_and_where(folder: Path) -> None:
    """Old content is put back, and taken away again while fio goes on."""

    def damage() -> None:
        time.sleep(2.2)  # when every block was written once
        with (folder / "disk").open("r+b") as disk:
            disk.seek(AREA.offset)
            content = disk.read(AREA.size)
            time.sleep(0.5)
            disk.seek(AREA.offset)
            newer = disk.read(AREA.size)
            disk.seek(AREA.offset)
            disk.write(content)
            disk.flush()
            time.sleep(0.6)
            disk.seek(AREA.offset)
            disk.write(newer)

    job = replace(JOB, seconds=4.0, nonce=JOB.nonce)
    thread = threading.Thread(target=damage)
    with sweeping(folder) as finish:
        thread.start()
        outcome = run_fio(folder / "disk", job)
        thread.join()
        history = history_of(outcome, finish())
    register = judge_register(history)
    wrong = np.unique(history.looks.offset[register.wrong])
    assert 8 <= len(wrong) <= 64


class Failing(Place):
    """A path all of whose reads end with the error of a dead one, at once or late."""

    late_s = 0.0

    def read(self, start: int, size: int) -> bytes | int:
        time.sleep(self.late_s)
        return errno.ENOLINK


@pytest.mark.parametrize("late_s", [0.0, 10.0])
def test_a_place_that_does_not_answer_leaves_its_chunk_to_another(
    folder: Path, late_s: float
) -> None:
    """Else blocks would be unseen for two periods."""
    places = {MAP: str(folder / "disk"), "a": str(folder / "disk")}
    sweep = Sweeper(told(places, folder, period=1.0))
    failing = Failing("a", places["a"], BLOCK)
    failing.late_s = late_s
    sweep.watchers.append(Watcher(1, failing, sweep))
    thread = threading.Thread(target=sweep.run)
    thread.start()
    time.sleep(3.5)
    with sweep.changed:
        sweep.stopping = True
    thread.join()
    sweep.finish()
    seen = parse_sightings((folder / "log").read_bytes(), tuple(places), BLOCK)
    assert set(seen.found[seen.place == 0]) == {int(Found.BLANK)}
    assert set(seen.found[seen.place == 1]) == {int(Found.NO_ANSWER)}
    last_ns = seen.ended_ns[seen.place == 0].max()
    for offset in AREA_BLOCKS:
        began = seen.began_ns[(seen.place == 0) & (seen.offset == offset)]
        assert np.diff(began, append=last_ns).max() < 1.6e9


AREA_BLOCKS = range(AREA.offset, AREA.end, BLOCK)


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


@pytest.fixture
def machine() -> Iterator[LocalMachine]:
    one = LocalMachine("initiator")
    yield one
    one.close()


def test_a_sweep_is_ended_and_its_logs_fetched(machine: LocalMachine, folder: Path) -> None:
    """As on a machine that is reached in another way. One program looks at all of its maps."""
    (folder / "other").write_bytes(bytes(2 * MIB))
    wanted = {
        name: Wanted({MAP: disk, "a": disk}, (JOB,), str(folder / f"{name}.log"))
        for name, disk in (("one", str(folder / "disk")), ("two", str(folder / "other")))
    } | {"gone": Wanted({MAP: "/nowhere/map"}, (JOB,), str(folder / "gone.log"))}
    with Sweep.started(machine, wanted) as sweep:
        sweep.wait_until_ready(Deadline.after(20))
        ready_ns = time.monotonic_ns()
        sweep.look_over("two", ["a"])
        time.sleep(2)
        seen = sweep.finish()
    assert list(seen) == ["one", "two", "gone"]
    for name, places in (("one", {0}), ("two", {0, 1})):
        assert seen[name].failure == ""
        assert seen[name].began_ns.min() < ready_ns + NS_PER_S / 2  # no program starts any more
        assert set(seen[name].place.tolist()) == places
        assert set(seen[name].offset.tolist()) <= set(AREA_BLOCKS)
    assert seen["gone"].failure == "the sweep failed: it cannot open the map"
    assert len(seen["gone"].offset) == 0


def test_the_program_numbers_what_it_finds_as_the_measurements_do() -> None:
    """It runs on the initiator, so that it has a list of its own; the read-back has words."""
    numbers = {**sweeper_module.FOUND, "unreadable": sweeper_module.UNREADABLE}
    assert numbers == {word: int(found) for word, found in _PROBLEMS.items()}
    assert sweeper_module.NO_ANSWER == Found.NO_ANSWER


@pytest.mark.parametrize(("map_name", "began"), [("swept", False), ("other", True)])
def test_what_a_sweep_reads_is_no_load(map_name: str, began: bool) -> None:
    """Where none runs, all that a disk carries is."""
    sweeps = Sweeps({}, {"initiator": {"swept": cast(Any, None)}}, {})

    def sample(read: int, written: int) -> Sample:
        disk = DiskSample(read, written, 0, 0, "running")
        return Sample(0, {"sda": disk}, {}, {}, {}, 0, 0)

    first = sample(MIB, MIB)
    assert sweeps.load_began(map_name, "sda", first, sample(2 * MIB, MIB)) is began
    assert sweeps.load_began(map_name, "sda", first, sample(MIB, MIB + 64 * KIB))


def test_a_chunk_without_an_answer_goes_to_the_place_that_answered_last(folder: Path) -> None:
    """Others that died with the first are not known to be dead yet."""
    places = {MAP: str(folder / "disk"), "a": str(folder / "disk"), "b": str(folder / "disk")}
    sweep = Sweeper(told(places, folder))
    sweep.add(1)
    sweep.add(2)
    for number, answered_at in enumerate((5.0, 6.0, 9.0, 7.0)):  # two are at the map
        sweep.watchers[number].answered_at = answered_at
    assert sweep.surest() is sweep.watchers[2]
    sweep.watchers[2].ready_at = time.monotonic() + 60
    assert sweep.surest() is sweep.watchers[3]


def test_where_all_looks_are_slow_none_is_handed_on_early(folder: Path) -> None:
    """To look at each chunk twice would make all of them slower still."""
    sweep = Sweeper(told({MAP: str(folder / "disk")}, folder))
    assert sweep.patience == sweeper_module.PATIENCE_S
    for seconds, patience in ((0.02, 0.2), (0.15, 0.45), (3.0, 0.6), (0.01, 0.2)):
        for _ in range(100):
            sweep.took(seconds)
        assert sweep.patience == pytest.approx(patience, abs=0.01)


def test_the_map_is_looked_at_side_by_side(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it alone is left, and each look takes long, one after the other would be too slow."""
    read = Place.read

    def slowly(self: Place, start: int, size: int) -> bytes | int:
        time.sleep(0.1)
        return read(self, start, size)

    monkeypatch.setattr(Place, "read", slowly)
    sweep = Sweeper(told({MAP: str(folder / "disk")}, folder, period=0.1))  # always late
    thread = threading.Thread(target=sweep.run)
    thread.start()
    time.sleep(2)
    with sweep.changed:
        sweep.stopping = True
    thread.join()
    sweep.finish()
    seen = parse_sightings((folder / "log").read_bytes(), (MAP,), BLOCK)
    assert set(seen.place.tolist()) == {0}
    assert len(set(seen.began_ns.tolist())) > 25  # and not 20


def test_a_sweep_that_fails_says_why(machine: LocalMachine, folder: Path) -> None:
    """Then nothing is known to be seen."""
    wanted = Wanted({MAP: str(folder / "disk")}, (JOB,), "/nowhere/log")
    started = time.monotonic()
    with Sweep.started(machine, {"map": wanted}) as sweep:
        sweep.wait_until_ready(Deadline.after(60))
        seen = sweep.finish()["map"]
    assert time.monotonic() - started < 30
    assert "/nowhere/log" in seen.failure
    assert len(seen.offset) == 0


@pytest.mark.parametrize(("luns", "periods"), [(1, [1.0, 0.8]), (16, [1.0, 0.8])])
def test_blocks_that_are_soon_written_again_are_looked_at_more_often(
    luns: int, periods: list[float]
) -> None:
    """Four times before the next write; each LUN has its share of the blocks and of the pace."""
    jobs = swept([job.shared_by(luns) for job in Layout.of(WorkloadConfig(), luns).mixed(1)])
    wanted: Any = Wanted({MAP: "/dev/mapper/x"}, jobs, "/log").told
    assert [area["period"] for area in wanted["areas"]] == pytest.approx(periods)
