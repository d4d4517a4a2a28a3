"""What a run found, in its last lines and on the front page of its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from allure_commons.model2 import Status

from harness.checks import Judgement, data_intact, judge, stall_within_budget
from harness.checks.definition import Finding
from harness.checks.outcome import Verdict
from harness.measurements import MAP, BlockFinding, Damage, Measurements
from harness.reporting.blame import Blame
from harness.reporting.outcomes import Outcome
from harness.reporting.run_result import JudgedPart, RunResult, judged_parts
from harness.reporting.stall_line import HEADING
from harness.reporting.verdict_document import Judged, verdict_document
from suites.selftest.unit.judged import READ_BACK, good, watched_writes
from suites.selftest.unit.small_suite import run_suite

EVERYWHERE = "if it is seen over every path"


def parts(test: str, *measured: Measurements, also: Sequence[Finding] = ()) -> list[JudgedPart]:
    """What a test leaves that judges the data and the stall of each of these."""
    judged = []
    for one in measured:
        findings = judge(one, data_intact(), stall_within_budget()).findings
        judged.append(Judged(one, Judgement((*findings, *also))))
    document = verdict_document(f"suites/x.py::{test}", judged, environment={}, wall_ahead_ns=0)
    return judged_parts(document)


def result(*tests: list[JudgedPart]) -> RunResult:
    return RunResult([part for test in tests for part in test])


def outcome(test: str, verdict: str = "", status: str = Status.PASSED) -> Outcome:
    return Outcome(f"suites/x.py::{test}", 0, 1, status=status, verdict=verdict, final=True)


DAMAGED = replace(
    good(), read_back=replace(READ_BACK, findings=(BlockFinding(4096, MAP, Damage.TORN),))
)
UNSEEN = replace(good(), history=watched_writes(blocks=100, period_ms=3000))


def test_a_good_run_says_that_no_byte_was_lost() -> None:
    """All writes of all its tests together, and the longest blind time."""
    run = result(parts("test_a", good()), parts("test_b", good()))
    assert run.data([outcome("test_a"), outcome("test_b")]) == (
        "1,160 acknowledged writes in 2 tests, all proven; no byte lost; "
        f"longest blind time 1.0 s, {EVERYWHERE}"
    )
    lab = outcome("test_c", Blame.LAB, Status.BROKEN)
    skipped = outcome("test_d", status=Status.SKIPPED)
    assert " writes in 2 of 3 tests, " in run.data(
        [outcome("test_a"), outcome("test_b"), lab, skipped]
    )


def test_wrong_data_is_told_first() -> None:
    """With the test and its reason; nothing is said of no byte that was lost."""
    told = result(parts("test_a", good()), parts("test_b", UNSEEN), parts("test_c", DAMAGED)).data(
        []
    )
    assert told.startswith(
        "wrong in 1 of 3 tests (test_c: 1 of 20 acknowledged blocks are wrong (1 torn): torn at "
        "offset 4096 (map)); not proven in 1 of 3 tests (test_b: "
    )
    assert "; 1,740 acknowledged writes in 3 tests, 100 % proven; longest blind time 3.0 s" in told


def test_writes_that_are_not_all_proven_are_not_called_so() -> None:
    part = parts("test_a", good())[0]
    told = result([{**part, "proven": 0.9995}]).data([])
    assert told.startswith("580 acknowledged writes in 1 test, 99.95 % proven; no loss was seen; ")


def test_a_run_that_judged_no_data_says_so() -> None:
    """And one that judged nothing at all says nothing."""
    part = parts("test_a", good())[0]
    assert result([{**part, "data": ""}]).data([]) == "no test judged it"
    assert RunResult().data([]) == ""


def test_the_front_page_has_verdict_findings_stall_and_data() -> None:
    """Failures first, with the first line of each."""
    odd = Finding("any", Verdict.UNKNOWN, "cannot tell\nmore of it")
    run = result(
        parts("test_a", good(), also=[odd]), parts("test_b", DAMAGED), parts("test_c", good())
    )
    outcomes = [
        outcome("test_a", Blame.UNKNOWN, Status.BROKEN),
        outcome("test_b", Blame.STORAGE, Status.FAILED),
        outcome("test_c"),
        outcome("test_d", status=Status.SKIPPED),
    ]
    page = run.front_page(outcomes, complete=True)
    assert list(page) == ["Verdict", "Findings", "Longest stall", "Data"]
    assert page["Verdict"] == "fail: of 4 tests 1 failed, 1 unknown, 1 passed, 1 skipped"
    first, second, third = page["Findings"].split(" | ")
    assert first == "1 failed, 1 unknown"
    assert second.startswith("test_b: data intact: fail: 1 of 20 acknowledged blocks are wrong")
    assert third == "test_a: any: unknown: cannot tell"
    assert page["Longest stall"] == "2.94 s of 4.00 s allowed (test_a)"
    assert page["Data"].startswith("wrong in 1 of 3 tests (test_b: ")


@pytest.mark.parametrize(
    ("outcomes", "complete", "verdict"),
    [
        ([outcome("a")], True, "pass: of 1 test 1 passed"),
        ([outcome("a")], False, "unknown: of 1 test 1 passed"),
        ([outcome("a", status=Status.SKIPPED)], True, "unknown: of 1 test 1 skipped"),
        (
            [outcome("a", Blame.LAB, Status.BROKEN), outcome("b")],
            True,
            "unknown: of 2 tests 1 with an error of the lab, 1 passed",
        ),
    ],
)
def test_only_a_run_in_which_every_test_passed_is_a_pass(
    outcomes: list[Outcome], complete: bool, verdict: str
) -> None:
    """One that judged nothing has no other row."""
    assert RunResult().front_page(outcomes, complete=complete) == {"Verdict": verdict}


def test_the_stall_that_came_closest_to_its_limit_is_named_too() -> None:
    part = parts("test_a", good())[0]
    other = {**part, "test": "test_b", "name": "test_b", "stalls": [[9.0, 20.0], [0.3, None]]}
    run = result([part], [other])  # type: ignore[list-item]  # of the same keys
    assert run.front_page([], complete=True)["Longest stall"] == (
        "9.00 s of 20.00 s allowed (test_b) | "
        "closest to its limit: 2.94 s of 4.00 s allowed (test_a)"
    )


def test_of_many_findings_the_first_are_shown() -> None:
    """The others are in the report's global attachments."""
    many = [Finding(f"check {n}", Verdict.FAIL, "x" * 500) for n in range(8)]
    shown = result(parts("test_a", good(), also=many)).front_page([], complete=True)["Findings"]
    assert shown.startswith("8 failed, 0 unknown | test_a: check 0: fail: xxx")
    assert shown.endswith("… | and 3 more: Global Attachments")
    assert len(shown) < 1000


def test_luns_of_a_test_are_told_apart() -> None:
    measured = [replace(DAMAGED, lun=lun) for lun in ("lun0", "lun1")]
    told = [line.partition(":")[0] for line in result(parts("test_a", *measured)).findings()]
    assert told == ["test_a initiator/lun0", "test_a initiator/lun1"]


TESTS = '''
"""Losing a path."""
from dataclasses import replace
from harness.checks import data_intact, stall_within_budget
from suites.selftest.unit.judged import good

def test_passes(judge):
    judge(good(), data_intact(), stall_within_budget()).require()

def test_stalls(judge):
    judge(replace(good(), max_stall_s=2.5), data_intact(), stall_within_budget()).require()
'''


@pytest.mark.parametrize(
    "options", [(), ("-n", "2"), ("--no-report",)], ids=["alone", "two workers", "no report"]
)
def test_the_terminal_tells_of_stalls_and_data(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Below the tests, whoever ran them."""
    lines = run_suite(tmp_path, TESTS, *options).stdout.splitlines()
    at = lines.index(HEADING)
    assert sorted(line.partition(":")[0] for line in lines[at + 1 : at + 3]) == [
        "test_passes",
        "test_stalls",
    ]
    assert lines[at + 3] == (
        "data: 1,160 acknowledged writes in 2 tests, all proven; no byte lost; "
        f"longest blind time 1.0 s, {EVERYWHERE}"
    )


def test_the_front_page_of_a_run_tells_what_it_found(tmp_path: Path) -> None:
    """Before what it ran on, and in full among the global attachments."""
    run_suite(tmp_path, TESTS)
    (results,) = tmp_path.glob("reports/out/2*/results")
    rows = dict(
        line.split("=", 1) for line in (results / "environment.properties").read_text().splitlines()
    )
    assert list(rows)[:4] == ["Verdict", "Findings", r"Longest\ stall", "Data"]
    assert rows["Verdict"] == "fail: of 2 tests 1 failed, 1 passed"
    stalled = "test_stalls: stall within budget: fail: I/O stalled 2.94 s"
    assert rows["Findings"].startswith(f"1 failed, 0 unknown | {stalled}")
    attached = [file.read_text() for file in results.glob("*-attachment*.txt")]
    assert any(text.startswith(stalled) for text in attached)
