"""`pathproof bench overhead`: what measuring costs the workload that is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from statistics import mean, median
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, configured, telling
from harness.cli.text import columns
from harness.config import Loaded
from harness.errors import WorkloadError
from harness.steps import Spent, step
from harness.units import KIB, MIB

if TYPE_CHECKING:
    from harness.testbed import Testbed
    from harness.workload import FioReport, Job

_BLOCK_SIZE = 16 * KIB
_WARM_UP_S = 5.0
_ENDING_S = 60.0
_LEVEL = 0.95
_TURNS = 4  # of each kind in a pair


@dataclass(frozen=True)
class Pair:
    """Throughput of one job with measurement and without, by turns."""

    with_mib_s: float
    without_mib_s: float

    @property
    def ratio(self) -> float:
        """1 if measuring costs nothing."""
        return self.with_mib_s / self.without_mib_s


@dataclass(frozen=True)
class Overhead:
    """`interval` holds the median ratio of all pairs that could be, with probability `level`."""

    pairs: tuple[Pair, ...]
    leg_s: float
    median_ratio: float
    interval: tuple[float, float]
    level: float


@configured()
def overhead(
    loaded: Loaded,
    ctx: typer.Context,
    *,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="How many pairs of runs.")] = 5,
    seconds: Annotated[
        float, typer.Option("--seconds", min=4, help="How long each kind of a pair runs, in all.")
    ] = 16.0,
    as_json: Json = False,
) -> None:
    """Run the same unpaced reads with measurement and without, in one testbed, and compare."""
    from harness.testbed.provision import provisioner
    from harness.workload import JobKind

    with telling(ctx), provisioner(loaded.config) as lab, lab.testbed() as testbed:
        job = testbed.layout.unpaced(JobKind.RANDOM_READ, _BLOCK_SIZE, seed=0)
        _unmeasured(testbed, job, _WARM_UP_S)
        measured = [_pair(testbed, replace(job, seed=n), seconds, n) for n in range(pairs)]
    result = summed_up(measured, seconds)
    if as_json:
        told = asdict(result)
        told["pairs"] = [asdict(pair) | {"ratio": round(pair.ratio, 4)} for pair in result.pairs]
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(columns(rows(result)))


def summed_up(pairs: Sequence[Pair], leg_s: float) -> Overhead:
    """The median ratio with its interval."""
    ratios = [pair.ratio for pair in pairs]
    low, high, level = median_interval(ratios)
    return Overhead(
        pairs=tuple(
            Pair(round(pair.with_mib_s, 3), round(pair.without_mib_s, 3)) for pair in pairs
        ),
        leg_s=leg_s,
        median_ratio=round(median(ratios), 4),
        interval=(round(low, 4), round(high, 4)),
        level=round(level, 4),
    )


def median_interval(sample: Sequence[float]) -> tuple[float, float, float]:
    """The exact interval of the median between two order statistics, and its level.

    Whatever the distribution: of n values about n/2 lie below the median, binomially. The
    narrowest interval of at least 95 %; of fewer than six values the widest there is, which has
    a lower level (David and Nagaraja, Order Statistics, section 7.1).
    """
    from scipy.stats import binom

    ordered, count = sorted(sample), len(sample)
    rank = max(1, int(binom.ppf((1 - _LEVEL) / 2, count, 0.5)))
    level = 1 - 2 * float(binom.cdf(rank - 1, count, 0.5))
    return ordered[rank - 1], ordered[-rank], level


def _pair(testbed: Testbed, job: Job, leg_s: float, number: int) -> Pair:
    """Both kinds by turns: with, without, without, with, and so on, so that no drift favours one.

    Every other pair begins without.
    """
    rates: dict[bool, list[float]] = {True: [], False: []}
    with step(f"Pair {number + 1}", Spent.IO):
        for turn in range(2 * _TURNS):
            measured = (turn + 1) // 2 % 2 == number % 2
            run = _measured if measured else _unmeasured
            rates[measured].append(run(testbed, replace(job, seed=number), leg_s / _TURNS))
    return Pair(mean(rates[True]), mean(rates[False]))


def _measured(testbed: Testbed, job: Job, leg_s: float) -> float:
    """MiB/s of a job, measured as in every test. Raises WorkloadError if fio gave up."""
    from harness.workload.report import parse_report

    timed = replace(job, seconds=leg_s)
    with step("With measurement", Spent.IO), testbed.io([timed]) as io:
        io.wait_until_over()
    if io.cut_short:
        raise WorkloadError(io.cut_short)
    return mib_per_s(parse_report(io.measurements.notes["fio report"]))


def _unmeasured(testbed: Testbed, job: Job, leg_s: float) -> float:
    """MiB/s of the same job without a log, while nobody samples anything."""
    from harness.topology import Role
    from harness.workload import FioRun

    silent = replace(job, seconds=leg_s, logged=False)
    machine, device = testbed.machine(Role.INITIATOR), testbed.initiator.device
    with step("Without measurement", Spent.IO), ExitStack() as resting:
        for role in Role:
            resting.enter_context(testbed.observer(role).resting())
        with FioRun.started(machine, device, [silent]) as run:
            result = run.finish(leg_s + _ENDING_S)
    result.require_clean()
    return mib_per_s(result.report)


def mib_per_s(report: FioReport) -> float:
    """What fio says that its only job carried."""
    (job,) = report.jobs
    return job.bytes_per_s / MIB


def rows(result: Overhead) -> list[tuple[str, ...]]:
    """The table, its heading first."""
    low, high = result.interval
    runs = f"{len(result.pairs)} pairs, {result.leg_s:g} s of each kind in {_TURNS} turns"
    interval = f"{low:.3f} to {high:.3f} at {result.level:.1%} (order statistics), {runs}"
    return [
        ("PAIR", "WITH", "WITHOUT", "RATIO", ""),
        *(_cells(str(number), pair) for number, pair in enumerate(result.pairs, start=1)),
        ("median", "", "", f"{result.median_ratio:.3f}", interval),
    ]


def _cells(number: str, of: Pair) -> tuple[str, ...]:
    rates = f"{of.with_mib_s:.2f} MiB/s", f"{of.without_mib_s:.2f} MiB/s"
    return (number, *rates, f"{of.ratio:.3f}", "")
