"""A run that had to do without something: said at its end, in the report, in verdict.json."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.lacking import Lacking
from harness.plugin.run import wants_report
from harness.reporting.degraded import Degraded
from suites.selftest.unit.small_suite import run_suite
from suites.selftest.unit.test_reporting_allure import opened

HELPER = "/usr/lib/libvirt/libvirt_iohelper"
REASON = (
    "pathproof-target: libvirt could not save it: operation failed: libvirt:  error : cannot "
    f"execute binary {HELPER}: No such file or directory"
)
CURE = (
    f"{HELPER} is missing or cannot be run; ./bootstrap installs it (Debian: libvirt-daemon-common "
    "or libvirt-daemon)"
)
FORKS = Lacking("forks", REASON, CURE)

CONFTEST = f"""
from contextlib import contextmanager
from types import SimpleNamespace
import pytest
from harness.config import Config
from harness.lacking import Lacking
from harness.target import Capabilities

FORKS = Lacking("forks", {REASON!r}, {CURE!r})

class Supply:
    '''Forks the first testbed; then forks fail.'''
    lacking = ()
    lent_before = False
    testbed_lacks = ()

    @contextmanager
    def lent(self, owner):
        self.lacking = (FORKS,) if self.lent_before else ()
        self.lent_before = True
        target = SimpleNamespace(kind="tgt", capabilities=Capabilities(chap=True))
        yield SimpleNamespace(
            environment={{"Kernel": "6.1"}},
            config=Config(),
            target=target,
            lacking=self.testbed_lacks,
        )

@pytest.fixture(scope="session")
def testbeds():
    return Supply()
"""
TESTS = '''
"""Losing a path."""
import pytest
from harness.checks import stall_within_budget
from harness.errors import LabCannot
from suites.selftest.unit.synthetic_failover import failover

@pytest.mark.parametrize("number", [1, 2, 3])
def test_passes(testbed, judge, number):
    judge(failover(), stall_within_budget()).require()

@pytest.mark.requires("alua")
def test_of_alua(testbed):
    raise AssertionError("not reached")

def test_of_a_fault():
    raise LabCannot("PeerLinkDown(a) is not possible here: no target cable")
'''
WITHOUT_NODE = """
import harness.plugin.run, harness.plugin.required
from harness.errors import ReportError

def broken(*arguments, **options):
    raise ReportError("no HTML report: Allure ended with status 1\\nout of memory", hint="buy some")
"""
NO_GENERATOR = WITHOUT_NODE + "harness.plugin.run.find_generator = broken\n"
LATE = WITHOUT_NODE + "harness.plugin.run.generate = broken\n"
EARLY = WITHOUT_NODE + "harness.plugin.required.try_generator = broken\n"


NO_TESTBED = """
from harness.errors import TimedOut

@contextmanager
def lent(self, owner):
    self.lacking = (FORKS,)
    raise TimedOut("target: no answer to SSH within 300 s")
    yield

Supply.lent = lent
"""


NO_HANDLER = """
Supply.testbed_lacks = (Lacking("handler", "the kernel has no device handlers", "another kernel"),)
"""


def run(folder: Path, *options: str, more: str = "") -> subprocess.CompletedProcess[str]:
    """With testbeds that are stand-ins."""
    return run_suite(folder, TESTS, *options, conftest=CONFTEST + more)


def ending(ran: subprocess.CompletedProcess[str]) -> list[str]:
    """What is printed after pytest's own last line."""
    lines = ran.stdout.splitlines()
    last = max(number for number, line in enumerate(lines) if " in " in line and "passed" in line)
    return lines[last + 1 :]


def without(folder: Path) -> dict[str, list[str]]:
    """By test, what its verdict.json says that was lacking."""
    found = {}
    for file in folder.glob("reports/out/latest/verdicts/*.json"):
        content = json.loads(file.read_text())
        found[content["test"][-2]] = [one["name"] for one in content["without"]]
    return found


STOPS = """
def test_first(): pass
def test_second(): assert False
def test_third(): pass
def test_fourth(): pass
"""


@pytest.mark.parametrize(("options", "told"), [(("-x",), True), ((), False)])
def test_tests_without_a_result_are_told_of(
    tmp_path: Path, options: tuple[str, ...], told: bool
) -> None:
    """The report shows those that have one, and would look complete."""
    ran = run_suite(tmp_path, STOPS, *options)
    line = "degraded: not all tests have a result: 2 of 4 tests have none"
    assert (line in ran.stdout.splitlines()) is told
    front = tmp_path / "reports/out/latest/results/environment.properties"
    shown = front.read_text() if front.exists() else ""
    assert ("not all tests have a result" in shown) is told


SKIPPED = [
    "degraded: tests skipped (1 test): target tgt has no alua",
    "  cure: use a target that has it; docs/targets.md says which have what",
    "degraded: tests skipped (1 test): PeerLinkDown(a) is not possible here: no target cable",
    "  cure: use a target and an initiator that Pathproof makes, or see docs/external.md",
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("alone")
    return folder, ending(run(folder))


def test_the_last_lines_say_what_was_lacking_with_cause_and_cure(
    alone: tuple[Path, list[str]],
) -> None:
    """Each thing once, with the number of tests, just before the path of the report."""
    *lines, report = alone[1]
    assert lines == [
        f"degraded: no forks (3 tests): machines were booted, not forked, because {REASON}",
        f"  cure: {CURE}",
        *SKIPPED,
    ]
    assert report.startswith("report: ")
    assert report.endswith("/report.html")


def test_what_a_testbed_does_without_is_told_as_well(tmp_path: Path) -> None:
    """With every test that had such a testbed, skipped or not."""
    lines = ending(run(tmp_path, "--no-report", more=NO_HANDLER))
    reason = "access states (ALUA), because the kernel has no device handlers"
    assert lines[:2] == [
        f"degraded: no device handler (4 tests): the kernel did nothing about {reason}",
        "  cure: another kernel",
    ]


def test_a_verdict_says_what_was_lacking_by_then(alone: tuple[Path, list[str]]) -> None:
    """The first testbed was a fork."""
    assert without(alone[0]) == {"1": [], "2": ["forks"], "3": ["forks"]}


def test_the_front_page_says_it(alone: tuple[Path, list[str]], tmp_path: Path) -> None:
    """After what the run found, before what the tests ran on, as a browser shows it."""
    folder = alone[0]
    (properties,) = folder.glob("reports/out/2*/results/environment.properties")
    assert [line.partition("=")[0] for line in properties.read_text().splitlines()] == [
        "Verdict",
        "Findings",
        r"Longest\ stall",
        "Data",
        "Degraded",
        r"No\ forks",
        r"Tests\ skipped",
        "Kernel",
    ]
    seen = opened((folder / "reports/out/latest/report.html").resolve(), "", tmp_path)
    assert "Verdict pass: of 5 tests 3 passed, 2 skipped" in seen
    assert "Longest stall 2.94 s of 4.00 s allowed" in seen
    assert "Degraded no forks (3 tests), tests skipped (1 test)" in seen
    assert "Global Attachments 1" in seen
    assert f"cannot execute binary {HELPER}" in seen


def test_workers_tell_it_once_with_their_names(tmp_path: Path) -> None:
    """Each has its own testbeds; the tests of both are counted."""
    done = run(tmp_path, "-n", "2", "--dist", "load")
    *lines, report = ending(done)
    assert report.startswith("report: "), done.stdout
    forks = [line for line in lines if "no forks" in line]
    assert len(forks) == 1, done.stdout
    assert " on gw" in forks[0]
    assert lines.count(f"  cure: {CURE}") == 1
    skipped = [line for line in lines if line.startswith("degraded: tests skipped (1 test on gw")]
    assert len(skipped) == 2


def test_a_run_that_had_everything_says_nothing(tmp_path: Path) -> None:
    """Its last line is the path of the report."""
    done = run(tmp_path, "-k", "test_passes and 1")
    assert [line.partition(":")[0] for line in ending(done)] == ["report"], done.stdout
    assert without(tmp_path) == {"1": []}


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "worker"])
def test_a_missing_generator_is_told_in_verdicts(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """It is looked for before the first test, and workers know of it, too."""
    done = run(tmp_path, "-k", "test_passes and 1", *workers, more=NO_GENERATOR)
    lines = ending(done)
    assert lines[:2] == [
        "degraded: no HTML report: Allure ended with status 1",
        "  cure: buy some",
    ], done.stdout
    assert without(tmp_path) == {"1": ["report"]}


def test_a_report_that_fails_is_degraded(tmp_path: Path) -> None:
    """With all that Allure said; the tests passed, and so does the run."""
    done = run(tmp_path, "-k", "test_passes and 1", more=LATE)
    assert done.returncode == 0
    lines = ending(done)
    assert lines[0] == "degraded: no HTML report: Allure ended with status 1"
    assert lines[1] == "  cure: buy some"
    assert lines[2] == "out of memory"
    assert lines[3].startswith("results: ")


def test_what_was_lacking_is_said_also_where_no_testbed_could_be_made(tmp_path: Path) -> None:
    """It may be the very cause: machines were booted instead, and that took too long."""
    said = run(tmp_path, "-k", "test_passes and 1", more=NO_TESTBED).stdout
    assert "no answer to SSH within 300 s" in said
    assert (
        f"degraded: no forks (1 test): machines were booted, not forked, because {REASON}" in said
    )


def test_a_required_report_that_fails_fails_the_run(tmp_path: Path) -> None:
    """At its end, although every test passed."""
    done = run(tmp_path, "-k", "test_passes and 1", "--require", "report", more=LATE)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "error: a report is required (--require report), and there is none" in ending(done)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_required_report_that_cannot_be_made_is_one_error_before_any_test(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    """With the way out, no traceback, and no folder."""
    done = run(tmp_path, "--require", "report", *workers, more=EARLY)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.strip().splitlines() == [
        "ERROR: a report is required and lacking: Allure ended with status 1",
        "hint: buy some",
    ]
    assert "passed" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.glob("reports/out/2*")) == []


UNKNOWN = (
    "ERROR: --require: 'knives' cannot be required; what can: forks, kvm, report, several with a "
    "comma between them, such as 'forks,report', or 'nothing' (got 'forks,knives')"
)
CONTRADICTION = "ERROR: --require: there are no forks with this testbed: hypervisor.fork is false"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--require", "forks,knives"),
            UNKNOWN,
        ),
        (
            ("--require", "forks", "--fork", "false"),
            CONTRADICTION,
        ),
        (
            ("--require", "report", "--no-report"),
            "ERROR: --no-report: a report is required (--require report)",
        ),
    ],
    ids=["unknown word", "contradiction", "no report"],
)
def test_what_cannot_be_required_is_one_error(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    """Before anything is done."""
    done = run(tmp_path, *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.strip().splitlines()[0] == message
    assert "passed" not in done.stdout


def test_tests_and_workers_are_counted() -> None:
    """A test that was run again counts once, and many workers are a number."""
    degraded = Degraded()
    for number in range(5):
        degraded.note(FORKS, test=f"test_{number}", worker=f"gw{number}")
        degraded.note(FORKS, test=f"test_{number}", worker=f"gw{number}")
    kvm = Lacking("kvm", "/dev/kvm is missing", "load kvm_intel")
    degraded.note(kvm, test="test_1", worker="gw1")
    degraded.note(kvm, test="test_2", worker="gw0")
    booted = f"machines were booted, not forked, because {REASON}"
    emulated = "machines were emulated, because /dev/kvm is missing"
    assert degraded.lines() == [
        f"degraded: no forks (5 tests on 5 workers): {booted}",
        f"  cure: {CURE}",
        f"degraded: no KVM (2 tests on gw0 and gw1): {emulated}",
        "  cure: load kvm_intel",
    ]
    assert degraded.environment() == {
        "Degraded": "no forks (5 tests on 5 workers), no KVM (2 tests on gw0 and gw1)",
        "No forks": f"{booted}. Cure: {CURE}",
        "No KVM": f"{emulated}. Cure: load kvm_intel",
    }


@pytest.mark.parametrize(
    ("folder", "made"),
    [
        ("suites/failover", True),
        ("selftest/unit/checkout/suites/failover", True),
        ("suites/selftest/defects", False),
    ],
)
def test_a_report_is_made_of_all_but_the_selftests(tmp_path: Path, folder: str, made: bool) -> None:
    """Wherever the checkout is: a folder above it may have the same name."""
    inside, _, below = folder.rpartition("suites/")
    root = tmp_path / inside
    root.mkdir(parents=True, exist_ok=True)
    config = SimpleNamespace(
        rootpath=root,
        args=[f"{root}/suites/{below}::test_x"],
        option=SimpleNamespace(collectonly=False),
        getoption=lambda _: False,
        invocation_params=SimpleNamespace(dir=root),
    )
    assert wants_report(cast("pytest.Config", config)) is made
