"""A test whose verdict is unknown is measured again; everything else is measured once."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from suites.selftest.unit.again_suite import BUSY, HEAD, ONCE, Ran, run

TESTS = (
    HEAD
    + """
def test_busy_always(judge, attempt, of_the_module):
    judge(failover(), saying("unknown")).require()

def test_fails_then(judge, attempt):
    judge(failover(), saying("unknown" if attempt == 1 else "fail")).require()

def test_breaks_then(judge, attempt):
    judge(failover(), saying("unknown")) if attempt == 1 else None
    if attempt > 1:
        raise TimedOut("no answer of the target")

def test_passes(judge, attempt):
    judge(failover(), saying("pass")).require()

def test_fails(judge, attempt):
    judge(failover(), saying("fail"), saying("unknown")).require()

def test_fails_elsewhere(judge, attempt):
    judge(failover(), saying("fail"))
    judge(failover(), saying("unknown")).require()

def test_breaks(judge, attempt):
    judge(failover(), saying("unknown"))
    raise TimedOut("no answer of the target")

def test_check_crashes(judge, attempt):
    judge(failover(), Check("any", lambda _: 1 / 0)).require()

def test_clean_up_breaks(judge, broken_clean_up, attempt):
    judge(failover(), saying("unknown")).require()
"""
    + ONCE
)
TWICE = ("test_busy_always", "test_fails_then", "test_breaks_then", "test_busy_once")


@pytest.fixture(scope="module", params=[(), ("-n", "2")], ids=["alone", "two workers"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("again")
    other = folder / "suites" / "other"
    other.mkdir(parents=True)
    (other / "test_other.py").write_text("def test_elsewhere(): pass\n")
    return run(folder, "--junitxml", "junit.xml", *request.param, tests=TESTS)


def test_only_what_is_unknown_is_measured_again(ran: Ran) -> None:
    """Once. No failure, no error of the lab and no crashed check is."""
    tests = re.findall(r"def (test_\w+)\(", TESTS)
    counted = Counter(one for one in ran.noted if one.startswith("test_"))
    assert counted == {test: 2 if test in TWICE else 1 for test in tests}


def test_the_last_attempt_counts(ran: Ran) -> None:
    """In pytest's last line and in the exit status; a clean-up that broke is an error, too."""
    assert re.search(r"=+ 2 failed, 3 passed, 7 errors, 4 rerun in", ran.said), ran.said
    assert ran.done.returncode == pytest.ExitCode.TESTS_FAILED


def test_each_attempt_has_a_testbed_of_its_own(ran: Ran) -> None:
    """It is gone before the next is made; what the session has stays, as libvirt allows no other.

    After a clean-up that failed, everything that the next test does not share is torn down.
    """
    noted = Counter(ran.noted)
    assert noted["testbed"] == noted["testbed gone"] == 10 + 4
    assert noted["renewed"] == 4
    outer = "popen-gw1"  # in the path of its folder, if these tests have workers themselves
    workers = 2 if "gw1" in ran.said.replace(outer, "") else 1
    assert noted["supply"] == noted["supply gone"] == workers
    assert noted["module gone"] == 1
    if workers == 1:
        once = ["testbed", "test_busy_always", "testbed gone"]
        assert ran.noted[:8] == ["supply", *once, "renewed", *once]


def test_the_last_lines_say_what_was_measured_again_and_why(ran: Ran) -> None:
    """And what came of it."""
    path = "suites/failover/test_loss.py::"
    wanted = {
        f"  {path}test_busy_always: {BUSY}; then unknown again",
        f"  {path}test_fails_then: {BUSY}; then failed",
        f"  {path}test_breaks_then: {BUSY}; then the lab broke",
        f"  {path}test_busy_once: {BUSY}; then passed",
    }
    first, *lines = [line for line in ran.ending if not line.startswith("report: ")]
    assert first == "measured again: 4 tests, which were unknown at first"
    assert set(lines) == wanted


def test_progress_says_it_at_once(ran: Ran) -> None:
    """In a line of its own, with the reason."""
    told = re.findall(r"^\[.* s\] RERUN suites/\S+::(\w+) - (.+)$", ran.said, re.MULTILINE)
    assert sorted(told) == sorted((test, BUSY) for test in TWICE)


def test_every_attempt_has_a_verdict_and_one_of_them_counts(ran: Ran) -> None:
    """That is in the folder; the others are in one below it."""
    counts, earlier = ran.verdicts("*.json"), ran.verdicts("earlier/*-attempt-1.json")
    assert {test: (one.attempt, one.verdict.value) for test, one in counts.items()} == {
        "test_busy_always": (2, "unknown"),
        "test_fails_then": (2, "fail"),
        "test_passes": (1, "pass"),
        "test_fails": (1, "fail"),
        "test_fails_elsewhere": (1, "fail"),
        "test_check_crashes": (1, "unknown"),
        "test_clean_up_breaks": (1, "unknown"),
        "test_busy_once": (2, "pass"),
    }
    assert {
        test: (one.attempt, one.verdict.value) for test, one in earlier.items()
    } == dict.fromkeys(TWICE, (1, "unknown"))
    for test, one in counts.items():
        known = [(known.attempt, known.verdict.value, known.reasons) for known in one.earlier]
        assert known == ([(1, "unknown", (BUSY,))] if test in TWICE else [])


def test_the_report_has_all_attempts(ran: Ran) -> None:
    """As Allure knows retries: by name and parameters; the last says what those before it said."""
    first, last = ran.results("test_busy_once")
    assert (first["status"], last["status"]) == ("broken", "passed")
    assert BUSY in first["statusDetails"]["message"]
    assert first["historyId"] == last["historyId"]
    labels = [{one["name"]: one["value"] for one in each["labels"]} for each in (first, last)]
    assert [one.get("verdict") for one in labels] == ["unknown", None]
    title = "Attempt 1 was unknown and does not count"
    (step,) = [one for one in last["steps"] if one["name"] == title]
    assert [one["name"] for one in step["steps"]] == [BUSY]
    assert title not in json.dumps(first)
    assert len(ran.results("test_clean_up_breaks")) == 1


def test_the_page_shows_them_as_retries(ran: Ran) -> None:
    """Each test is counted once, and the front page says how many were measured again."""
    (folder,) = ran.folder.glob("reports/out/2*/html")
    pages = [json.loads(one.read_text()) for one in folder.glob("data/test-results/*.json")]
    retries = {page["name"]: len(page["retries"]) for page in pages if not page["isRetry"]}
    assert len(retries) == 11
    assert {name for name, number in retries.items() if number == 1} == {
        "Writes survive" if test == "test_busy_once" else test for test in TWICE
    }
    (properties,) = ran.folder.glob("reports/out/2*/results/environment.properties")
    assert "Measured\\ again=4 tests, which were unknown at first" in properties.read_text()


def test_what_an_attempt_judged_that_does_not_count_is_no_finding_of_the_run(ran: Ran) -> None:
    """Also where the attempt that counts judged nothing, since the lab broke."""
    attached = [one.read_text() for one in ran.folder.glob("reports/out/2*/results/*.txt")]
    (findings,) = [text for text in attached if "test_fails: latency recovered: fail" in text]
    found = Counter(line.partition(":")[0] for line in findings.splitlines())
    assert found == {
        "test_fails": 2,
        "test_fails_then": 1,
        "test_fails_elsewhere": 2,
        "test_busy_always": 1,
        "test_check_crashes": 1,
        "test_clean_up_breaks": 1,
    }


def test_junit_has_the_last_attempt(ran: Ran) -> None:
    """With what was unknown before as a property."""
    tree = ET.parse(ran.folder / "junit.xml")
    cases = Counter(one.get("name") for one in tree.iter("testcase"))
    assert cases.pop("test_clean_up_breaks") == 2  # as pytest has it where both go wrong
    assert set(cases.values()) == {1}
    (case,) = [one for one in tree.iter("testcase") if one.get("name") == "test_busy_once"]
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert properties == {"measured_again": BUSY}
    assert not list(case.iter("failure"))


def test_what_one_attempt_printed_is_not_in_the_next(tmp_path: Path) -> None:
    """It has its own report. The summary has a line for the attempt that counts, and names it."""
    said = run(tmp_path, "--no-report", "-rP", tests=HEAD + ONCE).said
    assert "this is attempt 2" in said
    assert "this is attempt 1" not in said
    assert re.findall(r"^(test_busy_once.*): 2.94 s of 4.00 s", said, re.MULTILINE) == [
        "test_busy_once attempt 2"
    ]


@pytest.mark.parametrize(
    ("options", "attempts"),
    [(("--measure-again", "0"), 1), (("--measure-again", "2"), 3), (("--testbed", "own.toml"), 1)],
)
def test_how_often_is_configured(tmp_path: Path, options: tuple[str, ...], attempts: int) -> None:
    """On the command line, or in the testbed's file."""
    (tmp_path / "own.toml").write_text("measure_again = 0\n")
    tests = HEAD + ONCE.replace('"unknown" if attempt == 1 else "pass"', '"unknown"')
    ran = run(tmp_path, "--no-report", *options, tests=tests)
    assert ran.noted.count("test_busy_once") == attempts
    counted = rf"=+ 1 error, {attempts - 1} rerun in" if attempts > 1 else "=+ 1 error in"
    assert re.search(counted, ran.said), ran.said
    assert len([line for line in ran.ending if line.startswith("measured again")]) == (attempts > 1)


def test_an_attempt_that_does_not_count_ends_no_run(tmp_path: Path) -> None:
    """Neither `-x` nor `--keep-on-failure`; the last attempt is the one that is kept."""
    tests = HEAD + ONCE + "\ndef test_after(): pass\n" + ONCE.replace("once", "once_more")
    ran = run(tmp_path, "--no-report", "-x", "--keep-on-failure", "--keep", tests=tests)
    assert re.search(r"=+ 3 passed, 2 rerun in", ran.said), ran.said
    assert ran.said.count("kept: pathproof-1") == 1
    assert ran.noted[-4:] == ["testbed", "test_busy_once_more", "testbed gone", "supply gone"]


def test_an_attempt_that_counts_ends_a_run_as_ever(tmp_path: Path) -> None:
    """With `-x`, and nothing runs after it."""
    tests = HEAD + ONCE.replace('"unknown" if attempt == 1 else "pass"', '"unknown"')
    ran = run(tmp_path, "--no-report", "-x", tests=tests + "\ndef test_after(): pass\n")
    assert re.search(r"=+ 1 error, 1 rerun in", ran.said), ran.said
