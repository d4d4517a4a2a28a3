"""`pathproof bench overhead`: the interval of a median, the order of runs, table and JSON."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli.app import app
from harness.cli.bench import overhead as bench_overhead
from harness.cli.bench.overhead import (
    Compared,
    Load,
    Pair,
    compared_jobs,
    median_interval,
    mib_per_s,
    rows,
    summed_up,
)
from harness.config.model import WorkloadConfig
from harness.testbed.lun_layout import Layout
from harness.units import MIB
from harness.workload import FioReport
from harness.workload.job import render_job_file
from harness.workload.report import FioJobReport

PAIRS = [Pair(0.97, 1.0), Pair(1.02, 1.0), Pair(0.99, 1.0), Pair(2.0, 2.0), Pair(0.98, 1.0)]


@pytest.mark.parametrize(
    ("count", "rank", "level"),
    [(1, 1, 0.0), (5, 1, 0.9375), (6, 1, 0.96875), (10, 2, 0.97852), (20, 6, 0.95861)],
)
def test_the_interval_is_that_of_the_tables(count: int, rank: int, level: float) -> None:
    """Binomial sums: for the second to the ninth of ten, 1 - 2 * (1 + 10) / 1024."""
    low, high, reached = median_interval([float(n) for n in range(count, 0, -1)])
    assert (low, high) == (rank, count + 1 - rank)
    assert reached == pytest.approx(level, abs=1e-5)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60))
def test_the_interval_holds_the_samples_median(sample: list[float]) -> None:
    """The interval is as sure as that many samples allow."""
    low, high, level = median_interval(sample)
    ordered = sorted(sample)
    assert low <= ordered[len(ordered) // 2] <= high
    assert level >= 0.95 if len(sample) > 5 else (low, high) == (ordered[0], ordered[-1])


def test_pairs_are_summed_up() -> None:
    """One odd pair does not decide."""
    result = summed_up(Load.SUITES, PAIRS, 10)
    assert result.median_ratio == 0.99
    assert result.interval == (0.97, 1.02)
    assert result.level == 0.9375


def test_the_table_tells_all_pairs_and_the_interval() -> None:
    table = rows([summed_up(Load.UNPACED, PAIRS, 10)])
    assert table[1] == ("unpaced", "1", "0.97 MiB/s", "1.00 MiB/s", "0.970", "")
    assert table[-1] == ("unpaced", "median", "", "", "0.990", "0.970 to 1.020 at 93.8%")


def test_throughput_is_what_fio_reports_of_the_load() -> None:
    """The probe does not count: it is there to measure."""
    load = FioJobReport("load", 0, 0, 9, 20 * MIB, 0, 0, 10.0)
    probe = FioJobReport("probe", 0, 0, 9, 10 * MIB, 0, 0, 10.0)
    assert mib_per_s(FioReport("fio-3.33", (load, probe)), 1) == 2


def test_without_measurement_the_load_of_the_suites_is_all_there_is() -> None:
    """No probe, no log, no list of writes; the same pace, depth, size and seeds."""
    jobs = compared_jobs(Layout.of(WorkloadConfig()), Load.SUITES)
    measured, unmeasured = jobs.measured(8, seed=3), jobs.unmeasured(8, seed=3)
    assert [job.name for job in measured] == ["write", "read", "hot", "probe"]
    assert [replace(job, logged=True) for job in unmeasured] == measured[:3]
    job_file = render_job_file("/dev/mapper/x", unmeasured, "/folder")
    assert "/folder" not in job_file
    assert "verify=md5" in job_file


@pytest.mark.parametrize(("rate", "status"), [(1.97, 0), (1.95, 1)])
def test_both_kinds_take_turns_and_the_json_has_their_ratios(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rate: float, status: int
) -> None:
    """After a run without measurement that warms up and does not count."""
    legs: list[tuple[str, int, float]] = []

    def leg(name: str, rate: float) -> Any:
        def run(testbed: object, jobs: Compared, leg_s: float, seed: int) -> float:
            legs.append((name, seed, leg_s))
            return rate

        return run

    testbed = SimpleNamespace(layout=Layout.of(WorkloadConfig()))
    lab = SimpleNamespace(testbed=lambda: nullcontext(testbed))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.provision.provisioner.provisioner", lambda _: nullcontext(lab))
    monkeypatch.setattr(bench_overhead, "_with", leg("with", rate))
    monkeypatch.setattr(bench_overhead, "_without", leg("without", 2.0))
    arguments = ["--pairs", "2", "--seconds", "8", "--load", "unpaced", "--json"]
    done = CliRunner().invoke(app, ["--quiet", "bench", "overhead", *arguments])
    warm_up, *turns = legs
    assert warm_up[0] == "without"
    first = ["with", "without", "without", "with"] * 2
    second = ["without", "with", "with", "without"] * 2
    assert turns == [(name, 0, 2) for name in first] + [(name, 1, 2) for name in second]
    ratio = rate / 2
    pair = {"with_mib_s": rate, "without_mib_s": 2.0, "ratio": ratio}
    assert json.loads(done.output) == {
        "unpaced": {
            "load": "unpaced",
            "pairs": [pair, pair],
            "leg_s": 8,
            "median_ratio": ratio,
            "interval": [ratio, ratio],
            "level": 0.5,
        }
    }
    assert done.exit_code == status
