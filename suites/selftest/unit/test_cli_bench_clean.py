"""`pathproof bench clean`: alarms are counted, figures summed up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.cli.bench import clean as bench_clean
from harness.cli.bench.clean import Alarm, Run, rows, run, summed_up
from harness.deadline import Deadline
from harness.host.busy import busy
from harness.measurements import MAP, BlockFinding, Damage, Measurements, ReadBack
from harness.timeline import Phase
from suites.selftest.unit.judged import watched_writes, without_io
from suites.selftest.unit.synthetic_failover import END, HEALED, STALL_S, failover, nothing_measured

SLACK_S = 1.0
Bench = Callable[..., tuple[int, str]]


def undisturbed() -> Measurements:
    """The last nine seconds of a failover, in which nothing happens."""
    measured = failover()
    return replace(
        measured,
        streams=tuple(without_io(stream, 0, HEALED) for stream in measured.streams),
        phases=(Phase("whole", HEALED, END),),
        faults=(),
        kernel_logs=tuple(replace(log, lost=0) for log in measured.kernel_logs),
        timeline=replace(measured.timeline, events=()),
        path_states=tuple(seen for seen in measured.path_states if seen.states["a"] == "active"),
        read_back=ReadBack(20, 20, {MAP: 20, "a": 20, "b": 20}),
        history=watched_writes(),
    )


def alarming() -> Measurements:
    """As the storage is never to be: a block was not read back."""
    return replace(undisturbed(), read_back=ReadBack(20, 20, {MAP: 19}))


def test_a_clean_run_raises_no_alarm() -> None:
    """And says how finely it looked."""
    seen = run(1, undisturbed(), SLACK_S)
    assert seen.alarms == ()
    assert seen.stall_s is not None
    assert seen.stall_s < 0.1
    assert seen.resolution_s is not None
    assert seen.resolution_s < 0.02
    assert seen.clock_uncertainties_s == (0.0019,)


def test_a_run_that_was_cut_short_at_once_is_an_alarm() -> None:
    """Of a run in which nothing was seen, too, the verdict is told, and the others go on."""
    seen = run(1, replace(nothing_measured(), cut_short="fio gave up"), SLACK_S)
    assert {"no I/O errors", "evidence sound"} <= {alarm.check for alarm in seen.alarms}
    assert dict(rows(summed_up([seen])))["clock uncertainty"] == "unknown"


def test_an_alarm_names_run_check_and_verdict() -> None:
    """Unknown counts: it is no pass."""
    (alarm,) = run(3, alarming(), SLACK_S).alarms
    assert (alarm.run, alarm.check, alarm.verdict) == (3, "data intact", "unknown")
    assert "19 of 20" in alarm.message


def test_a_stall_is_an_alarm() -> None:
    """If it is longer than the slack."""
    measured = failover()
    stalled = replace(undisturbed(), phases=measured.phases[:1], streams=measured.streams)
    seen = run(1, stalled, SLACK_S)
    assert seen.stall_s == pytest.approx(STALL_S)
    assert "no stall" in [alarm.check for alarm in seen.alarms]


def test_figures_are_the_worst_and_the_median() -> None:
    """A run that saw nothing adds none."""
    alarm = Alarm(2, "no stall", "fail", "too long")
    result = summed_up(
        [
            Run((), 0.02, 0.006, (0.001, 0.002)),
            Run((alarm,), 0.3, 0.007, (0.003,)),
            Run((), None, None, ()),
        ]
    )
    assert (result.runs, result.false_alarms) == (3, (alarm,))
    assert (result.longest_stall_s, result.resolution_s_max) == (0.3, 0.007)
    assert result.clock_uncertainty_s_median == 0.002
    assert rows(result) == [
        ("runs", "3"),
        ("false alarms", "1"),
        ("runs that failed", "1"),
        ("runs without verdict", "0"),
        ("paths lost", "0"),
        ("frames on the cables", "0, 0 of them lost"),
        ("longest wait of a frame", "0 ms"),
        ("longest stall", "300 ms"),
        ("coarsest resolution", "7 ms"),
        ("clock uncertainty", "2.00 ms (median)"),
        ("run 2", "no stall: fail: too long"),
    ]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """Runs `bench clean` twice, on no testbed."""

    def invoke(measured: Callable[[], Measurements], *options: str) -> tuple[int, str]:
        monkeypatch.setattr(bench_clean, "_undisturbed", lambda *_, **__: measured())
        argv = ["--quiet", "bench", "clean", "--runs", "2", "--json", *options]
        done = CliRunner().invoke(app, argv)
        return done.exit_code, done.output

    lab = SimpleNamespace(testbed=lambda: nullcontext(None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.provision.provisioner.provisioner", lambda _: nullcontext(lab))
    return invoke


def test_clean_runs_end_well(
    bench: Bench,
) -> None:
    status, output = bench(undisturbed)
    told = json.loads(output)
    assert (status, told["runs"], told["false_alarms"]) == (0, 2, [])
    assert set(told) == {
        *("runs", "false_alarms", "longest_stall_s", "resolution_s_max"),
        *("runs_failed", "runs_unknown", "paths_lost", "kernel_logs"),
        *("frames", "frames_lost", "longest_wait_s", "clock_uncertainty_s_median"),
    }


def test_a_false_alarm_is_the_exit_status(
    bench: Bench,
) -> None:
    status, output = bench(alarming)
    assert status == 1
    assert [alarm["run"] for alarm in json.loads(output)["false_alarms"]] == [1, 2]


def test_with_load_beside_it_only_a_failure_is_the_exit_status(bench: Bench) -> None:
    """Unknown is what a busy host brings; it is told."""
    status, output = bench(alarming, "--with-load", "1")
    told = json.loads(output)
    assert (status, told["runs_unknown"]) == (0, 2)
    wrong = BlockFinding(0, MAP, Damage.TORN)
    torn = replace(undisturbed(), read_back=ReadBack(20, 20, {MAP: 20}, (wrong,)))
    assert bench(lambda: torn, "--with-load", "1")[0] == 1


def test_busy_loops_end_with_the_block() -> None:
    def loops() -> int:
        here = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
        children = Path(here).read_text().split()
        return sum("while True: pass" in Path(f"/proc/{c}/cmdline").read_text() for c in children)

    with busy(2):
        deadline = Deadline.after(30)
        while loops() < 2 and not deadline.expired:  # until both programs were started
            time.sleep(0.01)
        assert loops() == 2
    assert loops() == 0


def test_lost_paths_and_the_labs_cables_are_counted() -> None:
    """So that many runs can be added up."""
    lost = replace(undisturbed(), timeline=failover().timeline)
    first = run(1, lost, SLACK_S)
    assert first.paths_lost == 1
    second = replace(
        first,
        paths_lost=0,
        frames=500,
        frames_lost=3,
        longest_wait_s=0.75,
        kernel_log=(),
        alarms=(),
    )
    failed = replace(first, alarms=(Alarm(1, "x", "unknown", ""), Alarm(1, "y", "fail", "")))
    unknown = replace(first, alarms=(Alarm(1, "x", "unknown", ""),))
    told = dict(rows(summed_up([failed, unknown, second])))
    assert told["paths lost"] == "2"
    assert first.kernel_log == ("initiator: detected conn error (1022)",)
    assert summed_up([first, second]).kernel_logs == {1: first.kernel_log}
    assert told["runs that failed"] == "1"
    assert told["runs without verdict"] == "1"
    assert told["frames on the cables"] == "500, 3 of them lost"
    assert told["longest wait of a frame"] == "750 ms"
