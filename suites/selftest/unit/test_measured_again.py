"""A test whose verdict is unknown is measured again; everything else is measured once."""

from __future__ import annotations

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.checks import Finding, Judgement, Verdict
from harness.plugin.attempts import Attempts
from harness.reporting.blame import Blame
from harness.reporting.measured_again import measured_again
from harness.reporting.outcomes import RERUN, Outcomes
from harness.reporting.verdict_document import Judged, VerdictDocument
from suites.selftest.unit.small_suite import run_suite
from suites.selftest.unit.synthetic_failover import failover, nothing_measured

CONFTEST = """
import pathlib, uuid
from contextlib import contextmanager
from types import SimpleNamespace
import pytest
from harness.config import Config
from harness.errors import TimedOut

HERE = pathlib.Path(__file__).parent

def note(what):
    with (HERE / "noted").open("a") as file:
        file.write(what + "\\n")

class Supply:
    '''Stand-ins for testbeds.'''
    lacking = ()

    @contextmanager
    def lent(self, owner):
        note("testbed")
        yield SimpleNamespace(environment={"Kernel": "6.1"}, config=Config(), lacking=())
        note("testbed gone")

    def renew(self):
        note("renewed")

    def keep(self):
        return "pathproof-1"

@pytest.fixture(scope="session")
def testbeds():
    note("supply")
    yield Supply()
    note("supply gone")

@pytest.fixture(scope="module")
def of_the_module():
    yield
    note("module gone")

@pytest.fixture
def broken_clean_up():
    yield
    raise TimedOut("the machine does not go down")

@pytest.fixture
def attempt(request, testbed):
    note(request.node.name)
    return (HERE / "noted").read_text().split("\\n").count(request.node.name)
"""
HEAD = '''
"""Losing a path."""
from harness.checks import Check, Finding, Verdict, stall_within_budget
from harness.errors import TimedOut
from suites.selftest.unit.synthetic_failover import failover

BUSY = "the host was too busy to compare"

def saying(verdict):
    finding = Finding("latency recovered", Verdict(verdict), BUSY)
    return Check("latency recovered", lambda _: finding)
'''
BUSY = "latency recovered: unknown: the host was too busy to compare"
ONCE = '''
def test_busy_once(judge, attempt):
    """Writes survive."""
    print(f"this is attempt {attempt}")
    verdict = "unknown" if attempt == 1 else "pass"
    judge(failover(), stall_within_budget(), saying(verdict)).require()
'''
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


@dataclass
class Ran:
    """A run that is over."""

    folder: Path
    done: subprocess.CompletedProcess[str]

    @property
    def said(self) -> str:
        return self.done.stdout

    @property
    def ending(self) -> list[str]:
        """What is printed after pytest's own last line."""
        lines = self.said.splitlines()
        last = max(number for number, line in enumerate(lines) if re.match(r"=+ .* in .*=$", line))
        return lines[last + 1 :]

    @property
    def noted(self) -> list[str]:
        return (self.folder / "noted").read_text().splitlines()

    def verdicts(self, pattern: str) -> dict[str, VerdictDocument]:
        files = self.folder.glob(f"reports/out/2*/verdicts/{pattern}")
        documents = [VerdictDocument.model_validate_json(file.read_text()) for file in files]
        return {one.test.partition("::")[2]: one for one in documents}

    def results(self, test: str) -> list[dict[str, Any]]:
        """Of Allure, in the order in which they began."""
        files = self.folder.glob("reports/out/2*/results/*-result.json")
        every = [json.loads(file.read_text()) for file in files]
        return sorted(
            (one for one in every if one["fullName"].endswith(f"#{test}")),
            key=lambda one: int(one["start"]),
        )


def run(folder: Path, *options: str, tests: str = HEAD + ONCE) -> Ran:
    return Ran(folder, run_suite(folder, tests, *options, conftest=CONFTEST))


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
    """It has its own report; a line of the summary names the attempt."""
    said = run(tmp_path, "--no-report", "-rP", tests=HEAD + ONCE).said
    assert "this is attempt 2" in said
    assert "this is attempt 1" not in said
    assert "\ntest_busy_once: 2.94 s of 4.00 s" in said
    assert "\ntest_busy_once attempt 2: 2.94 s of 4.00 s" in said


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


def unknown(*, crash: str = "", measured: bool = True) -> Judged:
    finding = Finding("latency recovered", Verdict.UNKNOWN, "too busy", crash=crash)
    return Judged(failover() if measured else nothing_measured(), Judgement((finding,)))


@pytest.mark.parametrize(
    ("blamed", "judged", "again"),
    [
        (Blame.UNKNOWN, [unknown()], True),
        (Blame.LAB, [unknown()], False),
        (Blame.UNKNOWN, [], False),
        (Blame.UNKNOWN, [unknown(crash="Traceback")], False),
        (Blame.UNKNOWN, [unknown(crash="Traceback", measured=False)], True),
    ],
    ids=["unknown", "of the lab", "nothing judged", "crashed", "no I/O"],
)
def test_what_another_attempt_may_tell(blamed: Blame, judged: list[Judged], again: bool) -> None:
    """Checks that crash since no I/O got under way say that the host was slow."""
    attempts = Attempts(1)
    attempts.note(blamed, judged)
    assert bool(attempts.again) is again
    attempts.begin_next()
    attempts.note(blamed, judged)
    assert attempts.again == ()


def heard(outcomes: Outcomes, *, again: bool, unknown: Sequence[str] = ()) -> None:
    """The reports of an attempt; of one that does not count there may be no end."""
    for when in ("setup", "call", "teardown"):
        made = pytest.TestReport(
            nodeid="test_io", location=("", None, ""), keywords={}, outcome="passed",
            longrepr=None, when=when, start=1.0, stop=2.0,
        )  # fmt: skip
        if again and when == "call":
            made.outcome = RERUN  # type: ignore[assignment]  # a fourth, where pytest has three
            outcomes.note(made, result="a", unknown=unknown)
        else:
            outcomes.note(made, result="a" if again else "b")


def test_earlier_attempts_are_known_once_the_test_has_a_result() -> None:
    """A run may end between two attempts."""
    outcomes = Outcomes()
    heard(outcomes, again=True, unknown=[BUSY, "too few reads"])
    assert (outcomes.of("test_io"), outcomes.all()) == (None, [])
    heard(outcomes, again=False)
    (outcome,) = outcomes.all()
    (earlier,) = outcome.earlier
    assert (earlier.result, outcome.result) == ("a", "b")
    assert (earlier.verdict, earlier.message) == ("unknown", f"{BUSY}\ntoo few reads")
    line = f"  test_io: {BUSY}; too few reads; then passed"
    assert measured_again([outcome]) == ["measured again: 1 test, which was unknown at first", line]


def test_a_test_whose_worker_died_begins_anew() -> None:
    """Another worker counts its attempts from 1."""
    outcomes = Outcomes()
    heard(outcomes, again=True, unknown=[BUSY])
    heard(outcomes, again=True)
    heard(outcomes, again=False)
    assert [outcome.earlier for outcome in outcomes.all()] == [()]
