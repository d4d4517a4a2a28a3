"""What a run says on the terminal: warnings first, each failure once, with its reason."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.config import load
from harness.plugin.controller import timeouts_beyond_max_stall
from suites.selftest.unit.small_suite import run_suite

TESTS = '''
"""Losing a path."""
from dataclasses import replace
from harness.checks import stall_within_budget
from harness.errors import TimedOut
from suites.selftest.unit.synthetic_failover import failover

def test_passes(judge):
    judge(failover(), stall_within_budget()).require()

def test_stalls(judge):
    judge(replace(failover(), max_stall_s=2.5), stall_within_budget()).require()

def test_breaks():
    raise TimedOut("no answer of the target")
'''
STALLED = "stall within budget: fail: I/O stalled 2.94 s"


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run_suite(folder, TESTS, *options)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_each_failure_is_told_once_with_its_reason(tmp_path: Path, options: tuple[str]) -> None:
    """In full, and in short at the end; each stall by its parts, in one line."""
    said = run(tmp_path, *options).stdout
    details, _, short = said.partition("short test summary info")
    assert details.count(STALLED) == 1, said
    assert f"FAILED suites/failover/test_loss.py::test_stalls - {STALLED}" in short
    assert "ERROR suites/failover/test_loss.py::test_breaks - no answer of the target" in short
    parts = "detection 1.98, session recovery 0.92, resubmission 0.03"
    assert f"\ntest_passes: 2.94 s of 4.00 s: {parts}\n" in details
    assert f"\ntest_stalls: 2.94 s of 2.50 s: {parts}\n" in details


WRONG = '''
"""Programs that are wrong."""
from harness.checks import Check
from harness.errors import TimedOut
from suites.selftest.unit.synthetic_failover import failover

def test_errs():
    try:
        raise TypeError("on purpose")
    finally:
        raise TimedOut("no answer of the target")

def test_check_crashes(judge):
    judge(failover(), Check("any", lambda _: 1 / 0)).require()
'''


def test_a_programming_error_keeps_its_traceback(tmp_path: Path) -> None:
    """It is an error, also if a clean-up failed after it; a crashed check leaves evidence."""
    said = run_suite(tmp_path, WRONG).stdout
    details, _, short = said.partition("short test summary info")
    assert "ERROR suites/failover/test_loss.py::test_errs" in short
    assert 'raise TypeError("on purpose")' in details
    assert "test_check_crashes - any: unknown: the check itself crashed: ZeroDivisionError" in short
    (results,) = tmp_path.glob("reports/out/2*/results")
    kept = [file.read_text() for file in results.glob("*-attachment.txt")]
    assert any("Traceback" in text and "lambda _: 1 / 0" in text for text in kept)
    labels = {one for file in results.glob("*-result.json") for one in blamed(file)}
    assert labels == {"defect", "unknown"}


def blamed(result: Path) -> list[str]:
    labels = json.loads(result.read_text())["labels"]
    return [label["value"] for label in labels if label["name"] == "verdict"]


def test_a_run_that_selects_no_test_leaves_no_folder(tmp_path: Path) -> None:
    """Its exit status is pytest's own."""
    done = run(tmp_path, "-k", "nothing")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout + done.stderr
    assert list(tmp_path.glob("reports/out/2*")) == []


def test_a_demand_that_the_timeouts_alone_exceed_is_warned_of(tmp_path: Path) -> None:
    """Before anything is run."""
    said = run(tmp_path, "--max-stall", "2.5", "-k", "nothing").stdout
    assert (
        "warning: max_stall is 2.5 s, and the timeouts of profile fast alone allow 3 s "
        "(noop_out_interval 1 + noop_out_timeout 1 + fast_io_fail 1)"
    ) in said


@pytest.mark.parametrize(("most_s", "profile"), [("3", "fast"), (None, "fast"), ("1", "stock")])
def test_nothing_is_warned_of_where_that_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_s: str | None, profile: str
) -> None:
    """The distribution's timeouts are known when they are read from sysfs."""
    monkeypatch.chdir(tmp_path)
    options = {"budget.max_stall_s": (most_s, "--max-stall")} if most_s else {}
    config = load(None, {**options, "initiator.profile": (profile, "--profile")}).config
    assert timeouts_beyond_max_stall(config) == ""
