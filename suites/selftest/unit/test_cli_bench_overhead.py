"""`pathproof bench overhead`: the interval of a median, the order of runs, table and JSON."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import bench_overhead
from harness.cli.app import app
from harness.cli.bench_overhead import Pair, median_interval, mib_per_s, rows, summed_up
from harness.config.model import WorkloadConfig
from harness.testbed.layout import Layout
from harness.units import MIB
from harness.workload import FioReport, Job
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
    """And is as sure as it can be."""
    low, high, level = median_interval(sample)
    ordered = sorted(sample)
    assert low <= ordered[len(ordered) // 2] <= high
    assert level >= 0.95 if len(sample) > 5 else (low, high) == (ordered[0], ordered[-1])


def test_pairs_are_summed_up() -> None:
    """One odd pair does not decide."""
    result = summed_up(PAIRS, 10)
    assert result.median_ratio == 0.99
    assert result.interval == (0.97, 1.02)
    assert result.level == 0.9375


def test_the_table_tells_all_pairs_and_the_interval() -> None:
    table = rows(summed_up(PAIRS, 10))
    assert table[1] == ("1", "0.97 MiB/s", "1.00 MiB/s", "0.970", "")
    assert table[-1] == (
        *("median", "", "", "0.990"),
        "0.970 to 1.020 at 93.8% (order statistics), 5 pairs, 10 s of each kind in 4 turns",
    )


def test_throughput_is_what_fio_reports() -> None:
    report = FioReport("fio-3.33", (FioJobReport("load", 0, 0, 9, 20 * MIB, 0, 0, 10.0),))
    assert mib_per_s(report) == 2


def test_both_kinds_take_turns_and_the_json_has_their_ratios(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a run without measurement that warms up and does not count."""
    legs: list[tuple[str, int, float]] = []

    def leg(name: str, rate: float) -> Any:
        def run(testbed: object, job: Job, leg_s: float) -> float:
            legs.append((name, job.seed, leg_s))
            return rate

        return run

    testbed = SimpleNamespace(layout=Layout.of(WorkloadConfig()))
    lab = SimpleNamespace(testbed=lambda: nullcontext(testbed))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.testbed.provision.provisioner", lambda _: nullcontext(lab))
    monkeypatch.setattr(bench_overhead, "_measured", leg("with", 1.5))
    monkeypatch.setattr(bench_overhead, "_unmeasured", leg("without", 2.0))
    arguments = ["--quiet", "bench", "overhead", "--pairs", "2", "--seconds", "8", "--json"]
    done = CliRunner().invoke(app, arguments)
    warm_up, *turns = legs
    assert warm_up[0] == "without"
    first = ["with", "without", "without", "with"] * 2
    second = ["without", "with", "with", "without"] * 2
    assert turns == [(name, 0, 2) for name in first] + [(name, 1, 2) for name in second]
    pair = {"with_mib_s": 1.5, "without_mib_s": 2.0, "ratio": 0.75}
    assert json.loads(done.output) == {
        "pairs": [pair, pair],
        "leg_s": 8,
        "median_ratio": 0.75,
        "interval": [0.75, 0.75],
        "level": 0.5,
    }
