"""`pathproof bench overhead`: what measuring costs the workload that is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from statistics import mean, median
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.bench.one_lun import require_one_lun
from harness.cli.options import Json, configured, telling
from harness.cli.text import columns
from harness.config import Loaded
from harness.errors import WorkloadError
from harness.steps import Spent, step
from harness.units import KIB, MIB

if TYPE_CHECKING:
    from harness.testbed import Testbed
    from harness.testbed.lun_layout import Layout
    from harness.workload import FioReport, Job

_BLOCK_SIZE = 16 * KIB
_WARM_UP_S = 5.0
_ENDING_S = 60.0
_LEVEL = 0.95
_TURNS = 4  # of each kind in a pair
_LEAST_RATIO = 0.98


class Load(StrEnum):
    """What is run with measurement and without."""

    SUITES = "suites"
    UNPACED = "unpaced"


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

    load: Load
    pairs: tuple[Pair, ...]
    leg_s: float
    median_ratio: float
    interval: tuple[float, float]
    level: float

    @property
    def suffices(self) -> bool:
        """Whether measuring costs as little as is promised."""
        return self.median_ratio >= _LEAST_RATIO


@configured()
def overhead(
    loaded: Loaded,
    ctx: typer.Context,
    *,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="How many pairs of runs.")] = 5,
    seconds: Annotated[
        float, typer.Option("--seconds", min=4, help="How long each kind of a pair runs, in all.")
    ] = 20.0,
    load: Annotated[
        list[Load] | None, typer.Option("--load", help="Only this load; may be given again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the same load with measurement and without, in one testbed, and compare.

    Exit status 1 if the median of a load is below 0.98. Each pair runs both kinds for `--seconds`
    and each load has all pairs: with the defaults 400 s of I/O, and 8 minutes or more in all.
    """
    from harness.provision.provisioner import provisioner

    require_one_lun(loaded.config)
    with telling(ctx), provisioner(loaded.config) as lab, lab.testbed() as testbed:
        results = []
        for kind in load or Load:
            compared = compared_jobs(testbed.layout, kind)
            _without(testbed, compared, _WARM_UP_S, seed=0)
            measured = [_pair(testbed, compared, seconds, number) for number in range(pairs)]
            results.append(summed_up(kind, measured, seconds))
    typer.echo(as_text(results) if as_json else columns(rows(results)))
    if not all(result.suffices for result in results):
        raise typer.Exit(1)


@dataclass(frozen=True)
class Compared:
    """The jobs of a load, and those that are run beside it only to measure."""

    load: tuple[Job, ...]
    gauges: tuple[Job, ...] = ()

    def measured(self, seconds: float, seed: int) -> list[Job]:
        """The jobs with the duration and the seeds of a test."""
        jobs = (*self.load, *self.gauges)
        return [replace(job, seconds=seconds, seed=seed + n) for n, job in enumerate(jobs)]

    def unmeasured(self, seconds: float, seed: int) -> list[Job]:
        """The same load, of which nothing is kept but fio's report."""
        jobs = self.measured(seconds, seed)[: len(self.load)]
        return [replace(job, logged=False) for job in jobs]


def compared_jobs(layout: Layout, load: Load) -> Compared:
    """The load of `suites/failover` at its pace with the probe, or reads as fast as they go."""
    from harness.workload import JobKind

    if load is Load.UNPACED:
        return Compared((layout.unpaced(JobKind.RANDOM_READ, _BLOCK_SIZE, seed=0),))
    *jobs, probe = layout.mixed(seed=0)
    return Compared(tuple(jobs), (probe,))


def as_text(results: Sequence[Overhead]) -> str:
    """The JSON."""
    told = {result.load: asdict(result) for result in results}
    for result in results:
        ratios = [round(pair.ratio, 4) for pair in result.pairs]
        pairs = zip(told[result.load]["pairs"], ratios, strict=True)
        told[result.load]["pairs"] = [pair | {"ratio": ratio} for pair, ratio in pairs]
    return json.dumps(told, indent=2)


def summed_up(load: Load, pairs: Sequence[Pair], leg_s: float) -> Overhead:
    """The median ratio with its interval."""
    ratios = [pair.ratio for pair in pairs]
    low, high, level = median_interval(ratios)
    return Overhead(
        load=load,
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


def _pair(testbed: Testbed, jobs: Compared, leg_s: float, number: int) -> Pair:
    """Both kinds by turns: with, without, without, with, and so on, so that no drift favours one.

    Every other pair begins without.
    """
    rates: dict[bool, list[float]] = {True: [], False: []}
    with step(f"Pair {number + 1}", Spent.IO):
        for turn in range(2 * _TURNS):
            measured = (turn + 1) // 2 % 2 == number % 2
            run = _with if measured else _without
            rates[measured].append(run(testbed, jobs, leg_s / _TURNS, number))
    return Pair(mean(rates[True]), mean(rates[False]))


def _with(testbed: Testbed, jobs: Compared, leg_s: float, seed: int) -> float:
    """MiB/s of a load that is measured as in every test. Raises WorkloadError if fio gave up."""
    from harness.workload.report import parse_report

    with step("With measurement", Spent.IO), testbed.io(jobs.measured(leg_s, seed)) as io:
        io.wait_until_over()
    if io.cut_short:
        raise WorkloadError(io.cut_short)
    return mib_per_s(parse_report(io.measurements.notes["fio report"]).report, len(jobs.load))


def _without(testbed: Testbed, jobs: Compared, leg_s: float, seed: int) -> float:
    """MiB/s of the same load without a log and without samples."""
    from harness.topology import Role
    from harness.workload import FioRun

    machine, device = testbed.machine(Role.INITIATOR), testbed.map.device
    with step("Without measurement", Spent.IO), ExitStack() as resting:
        for role in testbed.machines:
            resting.enter_context(testbed.observer(role).resting())
        load, program = jobs.unmeasured(leg_s, seed), testbed.config.initiator.fio
        with FioRun.started(machine, device, load, program=program) as run:
            result = run.finish(leg_s + _ENDING_S)
    result.require_clean()
    return mib_per_s(result.report, len(jobs.load))


def mib_per_s(report: FioReport, jobs: int) -> float:
    """What fio says that the first so many jobs carried."""
    return sum(job.bytes_per_s for job in report.jobs[:jobs]) / MIB


def rows(results: Sequence[Overhead]) -> list[tuple[str, ...]]:
    """The table, its heading first."""
    table: list[tuple[str, ...]] = [("LOAD", "PAIR", "WITH", "WITHOUT", "RATIO", "INTERVAL")]
    for result in results:
        low, high = result.interval
        table += [
            *(_cells(result.load, str(n), pair) for n, pair in enumerate(result.pairs, start=1)),
            (
                *(result.load, "median", "", "", f"{result.median_ratio:.3f}"),
                f"{low:.3f} to {high:.3f} at {result.level:.1%}",
            ),
        ]
    return table


def _cells(load: Load, number: str, of: Pair) -> tuple[str, ...]:
    rates = f"{of.with_mib_s:.2f} MiB/s", f"{of.without_mib_s:.2f} MiB/s"
    return (load, number, *rates, f"{of.ratio:.3f}", "")
