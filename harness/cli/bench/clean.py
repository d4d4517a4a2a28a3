"""`pathproof bench clean`: how often the checks cry wolf."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.bench.one_lun import require_one_lun
from harness.cli.options import Json, configured, telling
from harness.cli.text import columns
from harness.config import Loaded
from harness.steps import Spent, step
from harness.units import NS_PER_S, format_seconds

if TYPE_CHECKING:
    from harness.measurements import Measurements
    from harness.testbed import Testbed

_PART_S = 3  # of I/O before a fault, while it lasts, and after healing
_IO_S = 3 * _PART_S


@dataclass(frozen=True)
class Alarm:
    """A check that did not pass although nothing was broken; runs count from 1."""

    run: int
    check: str
    verdict: str
    message: str


@dataclass(frozen=True)
class Run:
    """One run without a fault; seconds, None if nothing was seen.

    `frames` went over the lab's own cables, and one waited there for `longest_wait_s`. The kernel
    logs are kept where a path was lost.
    """

    alarms: tuple[Alarm, ...]
    stall_s: float | None
    resolution_s: float | None
    clock_uncertainties_s: tuple[float, ...]
    paths_lost: int = 0
    frames: int = 0
    frames_lost: int = 0
    longest_wait_s: float = 0.0
    kernel_log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clean:
    """All runs together; seconds, None if no run saw anything. `kernel_logs`: by run."""

    runs: int
    false_alarms: tuple[Alarm, ...]
    runs_failed: int
    runs_unknown: int
    paths_lost: int
    frames: int
    frames_lost: int
    longest_wait_s: float
    kernel_logs: dict[int, tuple[str, ...]]
    longest_stall_s: float | None
    resolution_s_max: float | None
    clock_uncertainty_s_median: float | None


@configured()
def clean(
    loaded: Loaded,
    ctx: typer.Context,
    *,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How many, a fork each.")] = 30,
    failover: Annotated[
        bool,
        typer.Option(
            "--failover", metavar="", help="Lose a link or a portal in each run, in turn."
        ),
    ] = False,
    with_load: Annotated[
        int,
        typer.Option("--with-load", min=0, help="So many busy loops on this host beside the I/O."),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Run I/O on healthy storage, again and again: no check may fail, or the exit status is 1.

    Without load on the host every check must pass. A run is 9 s of I/O on a new testbed, and its
    read-back: 30 runs take at least 5 minutes, under emulation twice that or more.
    """
    from harness.host.busy import busy
    from harness.provision.provisioner import provisioner

    require_one_lun(loaded.config)
    seen = []
    with telling(ctx), provisioner(loaded.config) as lab:
        for number in range(1, runs + 1):
            title = f"Clean run {number} of {runs}"
            with step(title, Spent.IO), lab.testbed() as testbed, busy(with_load):
                measured = (_failed_over if failover else _undisturbed)(testbed, seed=number)
                seen.append(run(number, measured, loaded.config.budget.slack_s))
    result = summed_up(seen)
    typer.echo(json.dumps(asdict(result), indent=2) if as_json else columns(rows(result)))
    if result.runs_failed or (result.false_alarms and not with_load):
        raise typer.Exit(1)


def _undisturbed(testbed: Testbed, seed: int) -> Measurements:
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=_IO_S)
    return io.measurements


def _failed_over(testbed: Testbed, seed: int) -> Measurements:
    """As the suite does it; the seed chooses what is lost."""
    from harness.faults import losses
    from harness.testbed.means import possible

    here = possible(testbed.config)
    every = tuple(filter(here, losses(testbed.topology, here)))
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=_PART_S)
        testbed.fail_over(every[seed % len(every)], during_s=_PART_S, after_s=_PART_S)
    return io.measurements


def run(number: int, measurements: Measurements, longest_s: float) -> Run:
    """What a run on healthy storage shows, judged as the suite judges one.

    Without a fault the longest stall is `longest_s`.
    """
    from harness.analysis.lab_cables import directions, longest_standstill, loss
    from harness.analysis.stall import stall_resolution_ns, worst_stall
    from harness.checks import Verdict, judge, promise_kept, undisturbed
    from harness.timeline import Happened

    checks = promise_kept() if measurements.faults else undisturbed(longest_s)
    judgement = judge(measurements, *checks)
    stall = worst_stall(measurements)
    resolution_ns = stall_resolution_ns(measurements)
    paths_lost = sum(event.what is Happened.PATH_FAILED for event in measurements.timeline)
    logs = measurements.kernel_logs if paths_lost else ()
    cables = tuple(directions(measurements))
    carried = [loss(one, measurements) for one in cables]
    waits = [longest_standstill(one) for one in cables]
    return Run(
        alarms=tuple(
            Alarm(number, finding.check, finding.verdict, finding.message)
            for finding in judgement.findings
            if finding.verdict is not Verdict.PASS
        ),
        stall_s=stall.seconds if stall else None,
        resolution_s=resolution_ns / NS_PER_S if resolution_ns else None,
        clock_uncertainties_s=tuple(c.uncertainty_ns / NS_PER_S for c in measurements.clocks),
        paths_lost=paths_lost,
        frames=sum(one.sent for one in carried),
        frames_lost=sum(one.lost for one in carried),
        longest_wait_s=max((one.seconds for one in waits if one), default=0.0),
        kernel_log=tuple(f"{log.machine}: {m.text}" for log in logs for m in log.messages),
    )


def summed_up(seen: Sequence[Run]) -> Clean:
    """The summary of one or more runs."""
    stalls = [one.stall_s for one in seen if one.stall_s is not None]
    resolutions = [one.resolution_s for one in seen if one.resolution_s is not None]
    uncertainties = [seconds for one in seen for seconds in one.clock_uncertainties_s]
    verdicts = [{alarm.verdict for alarm in one.alarms} for one in seen]
    return Clean(
        runs=len(seen),
        false_alarms=tuple(alarm for one in seen for alarm in one.alarms),
        runs_failed=sum("fail" in said for said in verdicts),
        runs_unknown=sum("unknown" in said and "fail" not in said for said in verdicts),
        paths_lost=sum(one.paths_lost for one in seen),
        frames=sum(one.frames for one in seen),
        frames_lost=sum(one.frames_lost for one in seen),
        kernel_logs={n: one.kernel_log for n, one in enumerate(seen, 1) if one.kernel_log},
        longest_wait_s=round(max(one.longest_wait_s for one in seen), 4),
        longest_stall_s=round(max(stalls), 4) if stalls else None,
        resolution_s_max=round(max(resolutions), 4) if resolutions else None,
        clock_uncertainty_s_median=round(median(uncertainties), 5) if uncertainties else None,
    )


def rows(result: Clean) -> list[tuple[str, str]]:
    """One line for each figure, then one for each false alarm."""
    return [
        ("runs", str(result.runs)),
        ("false alarms", str(len(result.false_alarms))),
        ("runs that failed", str(result.runs_failed)),
        ("runs without verdict", str(result.runs_unknown)),
        ("paths lost", str(result.paths_lost)),
        ("frames on the cables", f"{result.frames}, {result.frames_lost} of them lost"),
        ("longest wait of a frame", format_seconds(result.longest_wait_s)),
        ("longest stall", _told(result.longest_stall_s)),
        ("coarsest resolution", _told(result.resolution_s_max)),
        ("clock uncertainty", _told_median(result.clock_uncertainty_s_median)),
        *(
            (f"run {alarm.run}", f"{alarm.check}: {alarm.verdict}: {alarm.message}")
            for alarm in result.false_alarms
        ),
    ]


def _told_median(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1000:.2f} ms (median)"


def _told(seconds: float | None) -> str:
    return "unknown" if seconds is None else format_seconds(seconds)
