"""Tests on several workers: real runs of pytest-xdist, and its loop on paper."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScheduling
from xdist.workermanage import WorkerController

from harness.plugin.scheduler import LongestFirst
from harness.reporting.durations import recorded_durations
from harness.schedule import Case, Labels
from harness.schedule.simulation import Machine, simulate

TOP = Path(__file__).resolve().parents[3]
RECORDED = Path(__file__).parent / "recorded" / "allure-3-failover-history.jsonl"

CONFTEST = """
from pathlib import Path
from harness.plugin.scheduler import register

def pytest_configure(config):
    with_labels = any("host=" in spec for spec in config.getoption("tx") or [])
    labels_of = lambda spec: frozenset(spec.host.split("+"))
    register(config, history=Path("history.jsonl"), labels_of=labels_of if with_labels else None)

def pytest_handlecrashitem(crashitem, report, sched):
    sched.mark_test_pending(crashitem)
    report.outcome = "rerun"
"""


def run(folder: Path, tests: str, *options: str, status: int = 0) -> tuple[list[str], str]:
    """Run `tests` with our scheduler; what the lines of `-v` say, and all output."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text("import os, pytest, time\n" + tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TOP), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    found = re.findall(r"^\[(gw\d+)\].* ([A-Z]+) test_it\.py::(\S+)", done.stdout, re.MULTILINE)
    return [f"{outcome} {name} {worker}" for worker, outcome, name in found], done.stdout


def without_worker(lines: list[str]) -> Counter[str]:
    return Counter(line.rpartition(" ")[0] for line in lines)


def test_tests_of_a_killed_worker_run_elsewhere_once(tmp_path: Path) -> None:
    """The one that it was running, and the one that it held."""
    lines, output = run(
        tmp_path,
        """
@pytest.mark.parametrize("n", range(8))
def test_sleeps(n): time.sleep(0.1 + 0.05 * n)

def test_dies():
    if not os.path.exists("died"):
        open("died", "w").close()
        os.kill(os.getpid(), 9)
""",
        "-n3",
    )
    assert "scheduling tests via LongestFirst" in output
    passed = [f"PASSED test_sleeps[{number}]" for number in range(8)]
    assert without_worker(lines) == Counter([*passed, "RERUN test_dies", "PASSED test_dies"])


def test_the_test_held_last_of_all_runs_when_its_worker_dies(tmp_path: Path) -> None:
    """All others have shut down by then; a new worker comes."""
    lines, _ = run(
        tmp_path,
        """
def test_dies():
    if not os.path.exists("died"):
        time.sleep(0.5)
        open("died", "w").close()
        os.kill(os.getpid(), 9)

def test_quick(): pass
""",
        "-n2",
    )
    assert without_worker(lines) == Counter(
        ["PASSED test_quick", "RERUN test_dies", "PASSED test_dies"]
    )


def test_labels_are_kept_and_what_no_worker_can_run_is_an_error(tmp_path: Path) -> None:
    """Named at the start and in the end, with what is missing."""
    lines, output = run(
        tmp_path,
        """
@pytest.mark.parametrize("n", range(4))
@pytest.mark.host("kvm")
def test_picky(n): time.sleep(0.05)

@pytest.mark.parametrize("n", range(4))
def test_common(n): time.sleep(0.05)

@pytest.mark.host("kvm", "moon")
def test_nowhere(): pass
""",
        *("--tx=popen//host=plain", "--tx=popen//host=kvm+plain", "--dist=load"),
        status=1,
    )
    picky = [line for line in lines if "test_picky" in line]
    assert picky == [f"PASSED test_picky[{number}] gw1" for number in range(4)]
    assert sum("test_common" in line for line in lines) == 4
    assert sum(line.startswith("ERROR test_nowhere") for line in lines) == 1
    assert "no host can run test_it.py::test_nowhere: missing moon" in output
    assert "no host of the fleet can run this test: missing" in output


def test_the_longest_of_the_last_runs_goes_first(tmp_path: Path) -> None:
    results = {
        str(number): {
            "name": f"test_x[{number}]",
            "fullName": "test_it#test_x",
            "status": "passed",
            "duration": 1000 * number,
            "labels": [{"name": "package", "value": "test_it"}],
        }
        for number in range(4)
    }
    (tmp_path / "history.jsonl").write_text(json.dumps({"testResults": results}))
    tests = '@pytest.mark.parametrize("n", range(4))\ndef test_x(n): pass\n'
    lines, _ = run(tmp_path, tests, "-n1")
    assert lines == [f"PASSED test_x[{number}] gw0" for number in (3, 2, 1, 0)]


def test_another_distribution_is_left_alone(tmp_path: Path) -> None:
    """Who names one gets it; and a spoilt history keeps no worker from running tests."""
    (tmp_path / "history.jsonl").write_text("spoilt")
    tests = '@pytest.mark.parametrize("n", range(4))\ndef test_x(n): pass\n'
    _, output = run(tmp_path, tests, "-n2", "--dist=worksteal")
    assert "via WorkStealingScheduling" in output
    lines, output = run(tmp_path, tests, "-n2")
    assert len(lines) == 4
    assert "history.jsonl: line 1 is no run of Allure 3's history" in output


def test_workers_that_find_different_tests_run_none(tmp_path: Path) -> None:
    """xdist's own schedulers do the same: indices would mean different tests."""
    tests = '@pytest.mark.parametrize("n", [os.getpid()])\ndef test_x(n): pass\n'
    lines, output = run(tmp_path, tests, "-n2", status=1)
    assert lines == []
    assert "Different tests were collected" in output


class Worker:
    """xdist's loop on paper: a test begins when the next is known, or that there is none."""

    def __init__(self, number: int) -> None:
        self.gateway = SimpleNamespace(id=str(number), spec=None)
        self.told: deque[int] = deque()
        self.shutting_down = False
        self.free_s = 0.0

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.told.extend(indices)

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def can_begin(self) -> bool:
        return len(self.told) > 1 or (self.shutting_down and bool(self.told))


def makespan_s(scheduler: LoadScheduling, workers: list[Worker], took_s: list[float]) -> float:
    """What a scheduler of xdist's makes of tests that take so long."""
    nodes = cast("list[WorkerController]", workers)
    for node in nodes:
        scheduler.add_node(node)
    for node in nodes:
        scheduler.add_node_collection(node, [str(number) for number in range(len(took_s))])
    scheduler.schedule()
    running: dict[Worker, float] = {}
    ended = 0
    while True:
        if scheduler.tests_finished:
            for worker in workers:
                worker.shutdown()
        for worker in workers:
            if worker not in running and worker.can_begin:
                running[worker] = worker.free_s + took_s[worker.told[0]]
        if not running:
            assert ended == len(took_s)
            return max(worker.free_s for worker in workers)
        worker = min(running, key=lambda one: running[one])
        worker.free_s = running.pop(worker)
        ended += 1
        index = worker.told.popleft()
        scheduler.mark_test_complete(cast("WorkerController", worker), index, took_s[index])


def config_for(workers: int) -> pytest.Config:
    asked: dict[str, Any] = {"tx": ["popen"] * workers, "maxschedchunk": None}
    return cast("pytest.Config", SimpleNamespace(getvalue=asked.get, getoption=asked.get))


@pytest.mark.parametrize(
    ("tests", "workers", "saved"), [(9, 4, 0.0), (9, 8, 0.1), (100, 10, 0.02), (1000, 100, 0.05)]
)
def test_it_ends_sooner_than_xdist_and_as_simulated(tests: int, workers: int, saved: float) -> None:
    """Over ten runs in random order, with durations that vary by a tenth."""
    recorded = sorted(recorded_durations(RECORDED).values())
    quiet = Producer("", enabled=False)
    own_s, theirs_s = 0.0, 0.0
    for seed in range(10):
        chance = random.Random(seed)
        expected_s = [chance.choice(recorded) for _ in range(tests)]
        took_s = [seconds * chance.lognormvariate(0, 0.1) for seconds in expected_s]
        durations = {str(number): seconds for number, seconds in enumerate(expected_s)}
        own = LongestFirst(
            config_for(workers), quiet, durations=durations, needs={}, labels_of=lambda _: Labels()
        )
        theirs = LoadScheduling(config_for(workers), quiet)
        made_s = makespan_s(own, [Worker(number) for number in range(workers)], took_s)
        cases = [Case(name, expected_s=seconds) for name, seconds in durations.items()]
        machines = [Machine(str(number)) for number in range(workers)]
        assert made_s == pytest.approx(simulate(cases, machines, took_s).makespan_s)
        own_s += made_s
        theirs_s += makespan_s(theirs, [Worker(number) for number in range(workers)], took_s)
    assert own_s < (1 - saved) * theirs_s, f"{own_s:.0f} s against {theirs_s:.0f} s"
