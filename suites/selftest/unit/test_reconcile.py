"""What pytest reported and what allure wrote are brought together."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.reporting.outcomes import Outcome
from harness.reporting.reconcile import reconcile

TESTS = """
import allure, pytest

@pytest.fixture(scope="module")
def bed():
    allure.attach("up", "boot log")

@pytest.fixture
def io():
    allure.attach("writes", "fio")

def test_first(bed, io):
    with allure.step("outer"), allure.step("inner"):
        allure.attach("first", "evidence")

def test_second(bed, io):
    pass
"""
FIRST, SECOND = "suites/failover/test_io.py::test_first", "suites/failover/test_io.py::test_second"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the real allure-pytest: two tests, a fixture of each and one of both."""
    folder = tmp_path_factory.mktemp("written")
    suite = folder / "suites" / "failover"
    suite.mkdir(parents=True)
    (suite / "test_io.py").write_text(TESTS)
    subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", str(folder), "-p", "no:cacheprovider",
         "--import-mode=importlib", "--alluredir", str(folder / "results"), "suites"],
        cwd=folder, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return folder / "results"


@pytest.fixture
def results(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "results"))


def read(results: Path, pattern: str = "*-result.json") -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in results.glob(pattern)]


def outcomes(results: Path) -> tuple[Outcome, Outcome]:
    """What pytest said of both, with the uuids that allure chose."""
    uuids = {one["name"]: one["uuid"] for one in read(results)}
    return (
        Outcome(FIRST, 1.0, 2.0, result=uuids["test_first"]),
        Outcome(SECOND, 2.0, 3.0, result=uuids["test_second"]),
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_results_that_agree_are_left_as_they_are(results: Path) -> None:
    """To the byte, with all evidence."""
    before = contents(results)
    assert len([name for name in before if "-attachment." in name]) == 4
    reconcile(results, outcomes(results))
    assert contents(results) == before


def test_a_result_that_is_missing_is_written_from_the_report(results: Path) -> None:
    """With status, message, times, worker and verdict; in the tree where its suite is."""
    first, _ = outcomes(results)
    crashed = Outcome(
        "suites/failover/test_io.py::TestLoss::test_x[a-1::2]",
        began_s=1.5,
        ended_s=2.25,
        status="broken",
        message="worker gw1 died",
        verdict="lab",
        worker="gw1",
    )
    reconcile(results, [first, crashed])
    (made,) = [one for one in read(results) if one["uuid"] != first.result]
    assert made["name"] == "test_x[a-1::2]"
    assert made["fullName"] == "suites.failover.test_io.TestLoss#test_x"
    assert made["status"] == "broken"
    assert made["statusDetails"] == {"message": "worker gw1 died"}
    assert (made["start"], made["stop"]) == (1500, 2250)
    labels = {label["name"]: label["value"] for label in made["labels"]}
    assert labels["thread"] == "gw1"
    assert labels["verdict"] == "lab"
    assert labels["epic"] == "I/O survives path loss"


def test_a_result_made_from_a_report_continues_the_history(results: Path) -> None:
    """allure's id of a test without parameters, so that graphs show one test and not two."""
    wanted = {one["fullName"]: (one["historyId"], one["testCaseId"]) for one in read(results)}
    for path in results.glob("*-result.json"):
        path.unlink()
    reconcile(results, [Outcome(FIRST, 1.0, 2.0), Outcome(SECOND, 1.0, 2.0)])
    made = {one["fullName"]: (one["historyId"], one["testCaseId"]) for one in read(results)}
    assert made == wanted


def test_only_the_last_attempt_stays(results: Path) -> None:
    """The other goes with its evidence and its fixture; what both shared stays."""
    _, second = outcomes(results)
    reconcile(results, [second])
    assert [one["uuid"] for one in read(results)] == [second.result]
    children = [one["children"] for one in read(results, "*-container.json")]
    assert children == [[second.result]] * len(children)
    evidence = {path.read_text() for path in results.glob("*-attachment.*")}
    assert evidence == {"up", "writes"}
    assert len(list(results.glob("*-attachment.*"))) == 2


def test_attempts_of_a_test_that_was_measured_again_stay(results: Path) -> None:
    """Unless the last is lost: what is made in its place would not be known for the same test."""
    earlier, last = outcomes(results)
    before = contents(results)
    reconcile(results, [replace(last, earlier=(earlier,))])
    assert contents(results) == before
    for path in results.glob("*-result.json"):
        if last.result in path.read_text():
            path.unlink()
    reconcile(results, [replace(last, earlier=(earlier,))])
    assert [one["uuid"] for one in read(results)] == [last.result]


def test_files_that_were_cut_short_count_as_missing(results: Path) -> None:
    """A worker may die, or a copy end, in the middle of writing."""
    both = outcomes(results)
    for path in results.glob("*-result.json"):
        path.write_text(path.read_text()[:100])
    (results / "x-result.json.tmp").write_text("{")
    (results / "x-attachment.txt").write_text("of no test")
    reconcile(results, both)
    assert {one["uuid"] for one in read(results)} == {one.result for one in both}
    assert {one["name"] for one in read(results)} == {"test_first", "test_second"}
    assert not (results / "x-result.json.tmp").exists()
    assert not (results / "x-attachment.txt").exists()
