"""What lives as long as one run of pytest: configuration, listeners, results, report."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pytest

from harness.config import Config
from harness.errors import CouldNotTell, ReportError, VerdictFailed
from harness.lacking import Lacking, no_results
from harness.plugin.attempts import Attempts
from harness.plugin.interrupts import interruptible
from harness.plugin.phase_notes import PhaseNotes, RunNotes, notes_of
from harness.plugin.workers import BEGAN, LACKING, RESULTS, Workers, controls_workers
from harness.reporting.allure_listener import AllureSteps
from harness.reporting.bill import format_bill, format_pace
from harness.reporting.blame import Blame, BlameLabels
from harness.reporting.environment import add_to_environment, write_environment
from harness.reporting.html import find_generator, generate, no_report
from harness.reporting.measured_again import front_page, measured_again
from harness.reporting.outcomes import RERUN, Outcomes, worker_of
from harness.reporting.progress import showing_progress
from harness.reporting.reconcile import reconcile, running_result
from harness.reporting.run_result import JudgedPart, judged_parts
from harness.reporting.runs import (
    RunFolder,
    alone,
    discard_if_empty,
    fresh_run,
    point_latest_at,
    prune,
)
from harness.reporting.stall_line import HEADING
from harness.reporting.verdict_document import (
    FILE_NAME,
    Judged,
    VerdictDocument,
    verdict_document,
)
from harness.reporting.verdict_files import gather_verdicts
from harness.steps import Bill, Spent, attach, listening, step

KEY = pytest.StashKey["Run"]()


class Run:
    """Begun when pytest is configured; `close` ends it.

    With `pytest -n` there is one in the controller, which makes the report, and one in each
    worker, which runs tests. `folder` is None where no report is made, `results` where no results
    are written. `remarks` takes what the tests of this process say for the end of the run, and
    `stalls` a line for each stall; `judged` what the running test has judged, `lacking` what tests
    had to do without so far, as far as this process knows. `attempts` are those at the running
    test.
    `line_by_line`: progress is shown in whole lines, between which pytest must leave none open.
    """

    def __init__(self, config: pytest.Config, loaded: Config) -> None:
        given: dict[str, Any] = getattr(config, "workerinput", {})
        self.config = loaded
        self.worker: str = given.get("workerid", "")
        self.began: float = given.get(BEGAN, time.time())
        self.verdicts = BlameLabels(worker=self.worker)
        self.outcomes = Outcomes()
        self.folder: RunFolder | None = None
        self.results: Path | None = None
        self.failed = False
        self.at_last_test = False
        self.report: str = ""
        self.remarks: list[str] = []
        self.stalls: list[str] = []
        self.judged: list[Judged] = []
        self.attempts = Attempts()
        self.lacking: list[Lacking] = [Lacking(**one) for one in given.get(LACKING, ())]
        self.lost_report = False
        self._unsaid: list[dict[str, str]] = []
        self._judged_parts: list[JudgedPart] = []
        self._environment: dict[str, str] = {}
        self.line_by_line = False
        self._bill = Bill()
        self._notes = RunNotes()
        self._began_at = time.monotonic()
        self._tests_took_s = 0.0
        self._stack = ExitStack()
        if self.worker:
            self.results = Path(given[RESULTS]) if RESULTS in given else None
        elif wants_report(config):
            self.folder = fresh_run(config.rootpath / config.getoption("reports"))
            self.results = self.folder.results
            self._look_for_generator()
        if self.results is not None:
            config.option.allure_report_dir = str(self.results)
        self.workers = Workers(
            self.outcomes, began=self.began, results=self.results, lacking=self.lacking
        )
        self._stack.enter_context(self.verdicts.registered())
        self._stack.enter_context(listening(self._bill))
        self._stack.enter_context(listening(AllureSteps()))
        self._show_progress(config)
        self._stack.enter_context(interruptible(once=bool(self.worker)))

    def _show_progress(self, config: pytest.Config) -> None:
        if only_unit_tests(config):
            return  # they are over before a line could be read
        stream = self._stack.enter_context(_real_stderr(config))
        quiet = config.getoption("verbose") < 0
        progress = self._stack.enter_context(
            showing_progress(stream, quiet=quiet, worker=self.worker, began=self.began)
        )
        self.line_by_line = controls_workers(config) or not progress.animated

    def note_environment(self, environment: dict[str, str]) -> None:
        """Say what the tests run on, for the front page of the report."""
        self._environment = environment
        if self.results is not None:
            write_environment(self.results, environment)

    def note_lacking(self, *lacking: Lacking, test: str = "") -> None:
        """Tell at the end, and in verdicts from now on, what `test` or the run did without."""
        for one in lacking:
            if one not in self.lacking:
                self.lacking.append(one)
            self._unsaid.append({**asdict(one), "test": test})

    def _look_for_generator(self) -> None:
        try:
            find_generator()
        except ReportError as error:
            self.note_lacking(no_report(error))

    def require_what_was_judged(self) -> None:
        """Raise VerdictFailed or CouldNotTell if a test is about to pass though a check did not."""
        for judged in self.judged:
            try:
                judged.judgement.require()
            except (VerdictFailed, CouldNotTell) as error:
                raise type(error)(f"judged, but not required (`.require()`):\n{error}") from None

    def take_verdict(self, test: str, blamed: Blame | None) -> VerdictDocument | None:
        """What a test has judged since the last call; None if it was cut off, or judged nothing."""
        judged, self.judged = self.judged, []
        if not judged or blamed in {Blame.LAB, Blame.DEFECT}:
            return None
        return verdict_document(
            test,
            judged,
            environment=self._environment,
            wall_ahead_ns=time.time_ns() - time.monotonic_ns(),
            blamed=blamed,
            without=self.lacking,
            earlier=self.attempts.earlier,
        )

    def note_verdict(self, document: VerdictDocument) -> None:
        """Keep what the end of the run tells of it."""
        self._judged_parts += judged_parts(document)

    def attach_verdict(self, document: VerdictDocument) -> None:
        """Leave it in the results, if there are any, for machines to read."""
        if self.results is not None:
            attach(FILE_NAME, document.text, "application/json")

    def note_failure(self, session: pytest.Session) -> None:
        """A test that counts did not pass."""
        self.failed = True
        if session.config.getoption("keep_on_failure"):
            session.shouldstop = "a test failed, and its machines are kept"

    def take_notes(self) -> PhaseNotes:
        """What was said in this process since the last call."""
        spent = {kind.value: seconds for kind, seconds in self._bill.seconds.items() if seconds}
        notes = PhaseNotes(
            remarks=self.remarks[:],
            stalls=self.stalls[:],
            judged=self._judged_parts[:],
            spent=spent,
            lacking=self._unsaid[:],
            result=running_result(),
            unknown=list(self.attempts.unknown),
        )
        self.remarks.clear()
        self.stalls.clear()
        self._judged_parts.clear()
        self._unsaid.clear()
        self._bill.seconds = dict.fromkeys(Spent, 0.0)
        return notes

    def hear(self, report: pytest.TestReport) -> None:
        """Take in a phase of a test, run here or by a worker."""
        test, notes = report.nodeid, notes_of(report)
        self._notes.tests_s += report.duration
        was_known = self.outcomes.of(test) is not None
        if notes:
            self.outcomes.note(report, result=notes["result"], unknown=notes["unknown"])
            self._notes.add(notes, test=test, worker=worker_of(report))
        else:
            self.outcomes.note(report)
        if report.outcome == RERUN and notes and notes["unknown"]:
            self._notes.end_attempt(test)
        elif report.outcome == RERUN:
            self._notes.forget(test)
        elif not was_known and self.outcomes.of(test) is not None:
            self._notes.forget_earlier(test)

    def note_missing_results(self, collected: int) -> None:
        """Say how many of the tests that were collected have no result, if any has one."""
        done = len(self.outcomes.all())
        if 0 < done < collected:
            self.note_lacking(no_results(collected - done, collected))

    def end_tests(self) -> None:
        """No test runs any more: complete the results, and make the report of them."""
        self._tests_took_s = time.monotonic() - self._began_at
        self._notes.add(self.take_notes())
        self._render()

    def _render(self) -> None:
        """Make the HTML report; what hinders it is said, never raised: the results are safe."""
        if self.folder is None:
            return
        outcomes = self.outcomes.all()
        if not outcomes and not any(self.folder.results.iterdir()):
            discard_if_empty(self.folder)
            return
        earlier = {attempt.result for outcome in outcomes for attempt in outcome.earlier}
        gather = partial(
            gather_verdicts, self.folder.results, self.folder.verdicts, earlier=earlier
        )
        base = self.folder.path.parent
        try:
            with step("Make the report", Spent.REPORTING), alone(base):
                reconcile(self.folder.results, outcomes)
                self._fill_front_page(self.folder.results)
                gather(without=[one for one in self.lacking if one.name == "results"])
                page = generate(
                    self.folder.results, self.folder.path, "Pathproof", history=self.folder.history
                )
                point_latest_at(self.folder)
                prune(base)
            self.report = (
                f"report: {page}" if page else f"no test left a result in {self.folder.results}"
            )
        except ReportError as error:
            self.lost_report = True
            self.note_lacking(no_report(error))
            with suppress(ReportError):  # the reason may be the very folder
                gather(without=self.lacking)
            details = error.message.splitlines()[1:]
            self.report = "\n".join([*details, f"results: {self.folder.results}"])

    def _fill_front_page(self, results: Path) -> None:
        """What was found, measured again and lacking; in full among the global attachments."""
        found, degraded, outcomes = self._notes.result, self._notes.degraded, self.outcomes.all()
        complete = all(one.name != "results" for one in self.lacking)
        rows = found.front_page(outcomes, complete=complete)
        add_to_environment(results, rows | degraded.environment() | front_page(outcomes))
        for name, lines in (
            ("findings", found.findings()),
            ("degraded", degraded.lines()),
            ("measured again", measured_again(outcomes)),
        ):
            if lines:
                attach(name, "\n".join(lines))

    def summary(self) -> list[str]:
        """What pytest is to print below the tests."""
        for notes in [self.take_notes(), *self.workers.last_words()]:
            self._notes.add(notes)
        lines = ["", HEADING, *self._notes.stalls] if self._notes.stalls else []
        if data := self._notes.result.data(self.outcomes.all()):
            lines.append(f"data: {data}")
        lines += [*self._notes.remarks, *self.workers.remarks()]
        if self.folder is not None:
            wall_s = time.monotonic() - self._began_at
            lines += ["", format_bill(self._notes.bill, wall_s, self.workers.count)]
        if self.workers.count and self._notes.tests_s:
            tests_s = self._notes.tests_s - self._notes.bill.seconds[Spent.TURN]
            pace = format_pace(self.workers.count, self._tests_took_s, tests_s)
            lines.append(pace)
        return lines

    @property
    def required_report_missing(self) -> bool:
        """Whether a report was required and there is none."""
        return self.lost_report and "report" in self.config.require

    def last_lines(self) -> list[str]:
        """What is printed after pytest's own last line; the path of the report is the last."""
        if self.worker:
            return []
        lines = [*measured_again(self.outcomes.all()), *self._notes.degraded.lines()]
        if self.required_report_missing:
            lines.append("error: a report is required (--require report), and there is none")
        return [*lines, *([self.report] if self.report else [])]

    def close(self) -> None:
        self._stack.close()
        if self.folder is not None:  # nothing is in it if the run was refused before its first test
            discard_if_empty(self.folder)


@contextmanager
def _real_stderr(config: pytest.Config) -> Iterator[TextIO]:
    """Standard error as it was before pytest captured it."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        descriptor = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    with io.TextIOWrapper(io.BufferedWriter(_MaybeUnread(descriptor, "w"))) as stream:
        yield stream


class _MaybeUnread(io.FileIO):
    """Output that may have no reader, as when a worker's controller died: cleaning up goes on."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def wants_report(config: pytest.Config) -> bool:
    """Unit tests of the harness itself, listings and `--no-report` make none."""
    if config.getoption("no_report") or config.option.collectonly:
        return False
    return not _all_below(config, "suites/selftest")


def only_unit_tests(config: pytest.Config) -> bool:
    return _all_below(config, "suites/selftest/unit")


def _all_below(config: pytest.Config, folder: str) -> bool:
    """Whether every test that was asked for is in that folder of the checkout."""
    wanted = config.rootpath / folder
    started_in = config.invocation_params.dir
    asked = [(started_in / arg.partition("::")[0]).resolve() for arg in config.args]
    return all(path == wanted or wanted in path.parents for path in asked)
