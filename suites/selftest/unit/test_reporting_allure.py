"""A small pytest run through the listener, rendered by the real Allure 3, opened in Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ReportError
from harness.reporting import html

ROOT = Path(__file__).parents[3]

CONFTEST = """
import contextlib, pathlib, sys
import pytest
sys.path.insert(0, {root!r})
from harness.reporting.allure_listener import AllureSteps
from harness.reporting.environment import write_environment
from harness.reporting.labels import label_tests
from harness.reporting.runs import fresh_run
from harness.reporting.blame import BlameLabels
from harness.steps import listening

verdicts = BlameLabels()
listeners = contextlib.ExitStack()

@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    results = fresh_run(pathlib.Path({out!r})).results
    config.option.allure_report_dir = str(results)
    write_environment(results, {{"Accelerator": "tcg"}})
    listeners.enter_context(verdicts.registered())
    listeners.enter_context(listening(AllureSteps()))

def pytest_unconfigure():
    listeners.close()

def pytest_collection_modifyitems(items):
    label_tests(items, host="initiator")

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    verdicts.note(item, report, call)
    return report
"""

TESTS = '''
"""Losing one path."""
import pytest
from suites.selftest.unit.synthetic_failover import failover
from harness import steps
from harness.concurrency import side_by_side
from harness.errors import CouldNotTell, FaultError, TimedOut, VerdictFailed
from harness.reporting.evidence import attach_evidence

class LinkDown: ...

def booting(machine):
    with steps.step(f"booting {machine}"), steps.step(f"waiting for {machine}"):
        steps.attach(f"console of {machine}", "login:")

@pytest.fixture(scope="session")
def testbed():
    with steps.step("provisioning"):
        side_by_side(lambda: booting("initiator"), lambda: booting("target"))
    yield
    with steps.step("taking down"):
        pass

@pytest.mark.parametrize("kind", [LinkDown])
def test_passes(testbed, kind):
    """Writes survive.

    The limit is the budget.
    """
    with steps.step("verified writes"):
        side_by_side(lambda: booting("a thread"))
    with steps.step("evidence"):
        attach_evidence(failover())

def test_storage(testbed):
    """Storage breaks a promise."""
    with steps.step("judging"):
        raise VerdictFailed("data intact: fail: 3 blocks")

def test_unknown(testbed):
    """It cannot be seen."""
    raise CouldNotTell("fault took effect: unknown")

def test_lab(testbed):
    """The lab goes down."""
    raise TimedOut("no answer", hint="look at the console")

def test_defect(testbed):
    """A program errs."""
    try:
        raise TypeError("on purpose")
    finally:
        raise TimedOut("no answer")

def test_group(testbed):
    """Both at once."""
    raise ExceptionGroup("clean-up", [FaultError("cannot heal"), VerdictFailed("lost data")])

@pytest.fixture
def asserting():
    assert 1 == 2

def test_fixture(asserting):
    """A fixture asserts."""
'''


@dataclass
class Run:
    results: Path
    page: Path
    tests: dict[str, dict[str, Any]]

    def verdict(self, name: str) -> tuple[str, list[str]]:
        test = self.tests[name]
        return test["status"], [x["value"] for x in test["labels"] if x["name"] == "verdict"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    suite = folder / "suites" / "failover"
    suite.mkdir(parents=True)
    (folder / "conftest.py").write_text(CONFTEST.format(root=str(ROOT), out=str(folder / "out")))
    (suite / "test_loss.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder), "-p", "no:cacheprovider",
         str(folder)],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "5 failed, 1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    (results,) = folder.glob("out/2*/results")
    written = [json.loads(p.read_text()) for p in results.glob("*-result.json")]
    return Run(results, results.parent / "report.html", {one["name"]: one for one in written})


def outline(step: dict[str, Any]) -> Any:
    names = [a["name"] for a in step.get("attachments", [])]
    return {step["name"]: [*(outline(one) for one in step.get("steps", [])), *names]}


def test_every_test_is_blamed_on_whom_it_should_be(run: Run) -> None:
    """Status and label agree, in groups and fixtures too; a pass has no verdict."""
    assert run.verdict("Writes survive [LinkDown]") == ("passed", [])
    assert run.verdict("Storage breaks a promise") == ("failed", ["storage"])
    assert run.verdict("It cannot be seen") == ("broken", ["unknown"])
    assert run.verdict("The lab goes down") == ("broken", ["lab"])
    assert run.verdict("A program errs") == ("broken", ["defect"])
    assert run.verdict("Both at once") == ("failed", ["storage"])
    assert run.verdict("A fixture asserts") == ("broken", ["lab"])


def test_errors_are_shown_without_our_module_names(run: Run) -> None:
    """The hint comes along."""
    details = run.tests["The lab goes down"]["statusDetails"]
    assert details["message"] == "no answer\nhint: look at the console"


def test_steps_nest_across_threads_and_hold_their_evidence(run: Run) -> None:
    """What a thread does lies below the step that spawned it."""
    body = outline(run.tests["Writes survive [LinkDown]"])["Writes survive [LinkDown]"]
    inner = {"waiting for a thread": ["console of a thread"]}
    assert body[0] == {"verified writes": [{"booting a thread": [inner]}]}
    assert "failover timeline" in body[1]["evidence"]


def test_steps_of_a_session_fixture_lie_in_its_set_up(run: Run) -> None:
    """Its clean-up is shown, too, without pytest's own finalizers."""
    found = [json.loads(p.read_text()) for p in run.results.glob("*-container.json")]
    befores = [outline(one) for c in found for one in c.get("befores", [])]
    (testbed,) = [one["testbed"] for one in befores if "testbed" in one]
    assert {next(iter(one)) for one in testbed[0]["provisioning"]} == {
        "booting initiator",
        "booting target",
    }
    afters = [outline(one) for c in found for one in c.get("afters", [])]
    assert afters == [{"testbed: clean-up": [{"taking down": []}]}]


def test_labels_say_what_is_tested_where(run: Run) -> None:
    """The name of the machine that pytest runs on does not leak."""
    test = run.tests["Writes survive [LinkDown]"]
    labels = {(x["name"], x["value"]) for x in test["labels"]}
    assert {
        ("epic", "I/O survives path loss"),
        ("feature", "LinkDown"),
        ("story", "Writes survive"),
        ("severity", "critical"),
        ("layer", "real machines"),
    } <= labels
    assert {value for name, value in labels if name == "host"} == {"initiator"}
    assert test["parameters"] == [{"name": "kind", "value": "LinkDown"}]
    assert test["description"] == "Writes survive.\n\nThe limit is the budget."


@pytest.fixture(scope="module")
def rendered(run: Run) -> Path:
    try:
        page = html.generate(run.results, run.page.parent, "Failover on LIO")
    except ReportError as error:
        pytest.skip(f"no Allure here: {error}")
    assert page is not None
    return page


def test_the_page_is_one_file_and_fetches_nothing(rendered: Path) -> None:
    """The folder for web servers is made, too, and fetches nothing, either."""
    site = rendered.parent / "html"
    for page in (rendered, site / "index.html"):
        assert html.external_requests(page.read_text()) == []
        assert "googletagmanager" not in page.read_text()
    assert len(list((site / "data" / "test-results").glob("*.json"))) == 7
    assert sorted(p.name for p in rendered.parent.iterdir()) == ["html", "report.html", "results"]


def opened(page: Path, fragment: str, profile: Path) -> str:
    """The text of the page as a reader sees it. Skips without Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed, so the report was not looked at in a browser")
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={profile}", "--virtual-time-budget=10000",
         "--dump-dom", f"{page.as_uri()}#{fragment}"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", done.stdout, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_a_browser_shows_the_categories(rendered: Path, tmp_path: Path) -> None:
    """The four that people sort by."""
    seen = opened(rendered, "categories", tmp_path)
    for category in ("The storage broke", "The lab broke", "A program is wrong", "Could not tell"):
        assert category in seen


def test_lines_of_the_front_page_are_not_cut(rendered: Path) -> None:
    """Both pages show all that a run had to do without; Allure still calls its cells so."""
    for page in (rendered, rendered.parent / "html" / "index.html"):
        head = page.read_text().partition("</head>")[0]
        assert '[data-testid="metadata-item-value"]' in head
        assert "white-space: normal" in head
    app = next((rendered.parent / "html").glob("app-*.js")).read_text()
    assert "metadata-item-value" in app


def test_a_browser_shows_a_test_with_its_steps_and_evidence(rendered: Path, tmp_path: Path) -> None:
    """From the file, without a server."""
    tests = (rendered.parent / "html" / "data" / "test-results").glob("*.json")
    (passed,) = [p.stem for p in tests if json.loads(p.read_text())["status"] == "passed"]
    seen = opened(rendered, passed, tmp_path)
    for text in (
        "Writes survive [LinkDown]",
        "provisioning",
        "booting a thread",
        "failover timeline",
    ):
        assert text in seen
