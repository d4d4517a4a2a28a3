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
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from harness.analysis.blind_time import gaps, longest, under_watch
from harness.analysis.register import Keys, judge_register
from harness.config.model import WorkloadConfig
from harness.deadline import Deadline
from harness.machine import LocalMachine
from harness.measurements import (
    MAP,
    NEVER_NS,
    Found,
    WriteHistory,
)
from harness.observe.sample import DiskSample, Sample
from harness.testbed.lun_layout import Layout
from harness.testbed.sweeps import Sweeps
from harness.units import KIB, MIB, NS_PER_S
from harness.workload import Area, Job, JobKind, Ledger
from harness.workload import sweeper as sweeper_module
from harness.workload.history import _PROBLEMS, JobWrites, write_history
from harness.workload.programs import sweeper
from harness.workload.reader import Place
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


def test_a_map_whose_sweep_fails_leaves_the_others_alone(
    machine: LocalMachine, folder: Path
) -> None:
    """Here its log cannot be written."""
    disk = str(folder / "disk")
    logs = {"bad": "/nowhere/log", "good": str(folder / "log")}
    wanted = {name: Wanted({MAP: disk}, (JOB,), log) for name, log in logs.items()}
    with Sweep.started(machine, wanted) as sweep:
        sweep.wait_until_ready(Deadline.after(20))
        time.sleep(0.5)
        seen = sweep.finish()
    assert seen["bad"].failure == (
        "the sweep failed: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/log'"
    )
    assert len(seen["bad"].offset) == 0
    assert seen["good"].failure == ""
    assert set(seen["good"].offset.tolist()) <= set(AREA_BLOCKS)
    assert len(seen["good"].offset) > 0


def test_where_no_map_can_be_opened_that_is_what_is_said(machine: LocalMachine) -> None:
    """There is no log to fetch."""
    with Sweep.started(machine, {"gone": Wanted({MAP: "/nowhere/map"}, (JOB,), "/log")}) as sweep:
        seen = sweep.finish()
    assert seen["gone"].failure == "the sweep failed: it cannot open the map"


def test_the_program_numbers_what_it_finds_as_the_measurements_do() -> None:
    """It runs on the initiator, so that it has a list of its own; the read-back has words."""
    numbers = {**sweeper_module.FOUND, "unreadable": sweeper_module.UNREADABLE}
    assert numbers == {word: int(found) for word, found in _PROBLEMS.items()}
    assert sweeper_module.NO_ANSWER == Found.NO_ANSWER


@pytest.mark.parametrize(("map_name", "began"), [("swept", False), ("other", True)])
def test_what_a_sweep_reads_is_no_load(map_name: str, began: bool) -> None:
    """Where none runs, all that a disk carries is."""
    lun: Any = SimpleNamespace(map=SimpleNamespace(paths=()))
    sweeps = Sweeps({"swept": lun}, {"initiator": {"swept": cast(Any, None)}}, {})

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
