"""pytest's hooks in the process that shows the run: the only one, or the controller of workers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import pytest
from _pytest.junitxml import xml_key

from harness.config import Config
from harness.host.slots import limit_for
from harness.plugin.interrupts import ignore_interrupts
from harness.plugin.phase_notes import notes_of
from harness.plugin.required import refuse_unmet
from harness.plugin.run import KEY, only_unit_tests
from harness.reporting.blame import LABEL, Blame
from harness.reporting.outcomes import RERUN, worker_of
from harness.reporting.progress import stamp

if TYPE_CHECKING:
    from xdist.scheduler import Scheduling
    from xdist.workermanage import WorkerController

Word = str | tuple[str, dict[str, bool]]


def timeouts_beyond_max_stall(config: Config) -> str:
    """What to say if no loss of a path can fit `--max-stall`, by the timeouts that are known."""
    profile, most_s = config.profile, config.budget.max_stall_s
    timeouts = {
        "noop_out_interval": profile.noop_out_interval_s,
        "noop_out_timeout": profile.noop_out_timeout_s,
        "fast_io_fail": profile.fast_io_fail_s,
    }
    known = {name: seconds for name, seconds in timeouts.items() if seconds is not None}
    if most_s is None or sum(known.values()) <= most_s:
        return ""
    terms = " + ".join(f"{name} {seconds}" for name, seconds in known.items())
    return (
        f"max_stall is {most_s:g} s, and the timeouts of profile {config.initiator.profile} alone "
        f"allow {sum(known.values())} s ({terms})"
    )


def _why_again(report: pytest.TestReport) -> str:
    """Why a test is measured again; empty if its worker died, or if it is not."""
    notes = notes_of(report) if report.outcome == RERUN else None
    return f" - {'; '.join(notes['unknown'])}" if notes else ""


class Controller:
    """Listens to reports, prints the summary, makes the report; cares for workers, if any."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._run = config.stash[KEY]
        self._terminal: pytest.TerminalReporter | None = None

    def pytest_report_header(self) -> list[str]:
        folder = self._run.folder
        lines = [f"results: {folder.path}"] if folder else []
        limit = limit_for(self._run.config)
        lines.append(f"testbeds: {limit}")
        if warning := timeouts_beyond_max_stall(self._run.config):
            lines.append(f"warning: {warning}")
        if (workers := self._config.getoption("numprocesses", None) or 0) > limit.testbeds:
            lines.append(f"{workers} workers take turns: {limit.more}")
        return lines

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        plugins = self._config.pluginmanager
        self._terminal = plugins.get_plugin("terminalreporter")
        xdist = plugins.get_plugin("terminaldistreporter")
        if self._terminal is not None and self._run.line_by_line:
            self._terminal.showfspath = False  # an outcome's line has it
        if xdist is not None and self._run.line_by_line:
            # On a terminal it writes one line again and again, in which a worker's would begin.
            xdist._isatty = False  # noqa: SLF001  # it has no option for that
        if not (self._config.option.collectonly or only_unit_tests(self._config)):
            refuse_unmet(
                self._run.config,
                makes_report=self._run.folder is not None,
                makes_testbeds=self._config.getoption("fleet") is None,
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> Generator[None, tuple[str, str, Word], tuple[str, str, Word]]:
        """A broken lab is an error, also in the middle of a test; only the storage can fail.

        Where progress is shown in lines, an outcome is one of them, not a dot.
        """
        category, letter, word = yield
        verdict = dict(report.user_properties).get(LABEL) if report.when == "call" else None
        if report.outcome == RERUN:
            category, letter, word = RERUN, "R", ("RERUN", {"yellow": True})
        elif report.failed and verdict not in {None, Blame.STORAGE}:
            category, letter, word = "error", "E", "ERROR"
        if letter and self._run.line_by_line:
            said = word if isinstance(word, str) else word[0]
            began = stamp(self._run.began, worker_of(report))
            letter = f"{began} {said} {report.nodeid}{_why_again(report)}\n"
        return category, letter, word

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None]:
        self._run.hear(report)
        yield
        self._end_line()
        junit = self._config.stash.get(xml_key, None)
        if report.outcome == RERUN and junit is not None:  # else the file has it, without a name
            junit.node_reporters_ordered.remove(junit.node_reporter(report))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logstart(self) -> None:
        self._end_line()

    def _end_line(self) -> None:
        """`pytest -v` leaves lines open."""
        if self._terminal is not None and self._run.line_by_line:
            self._terminal.ensure_newline()
            self._terminal.flush()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        result = yield
        for report in self._run.workers.never_run():
            self._config.hook.pytest_runtest_logreport(report=report)
        return result

    def pytest_keyboard_interrupt(self) -> None:
        ignore_interrupts()
        self._run.workers.interrupt()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._terminal is not None and self._run.line_by_line:
            self._terminal.write_line("")
        self._run.note_missing_results(session.testscollected)
        self._run.end_tests()
        if self._run.required_report_missing and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._run.summary():
            terminalreporter.write_line(line)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        self._run.workers.configure(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._run.workers.collected(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController, error: object | None) -> None:
        self._run.workers.down(node, error)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_handlecrashitem(self, report: pytest.TestReport, sched: Scheduling) -> bool:
        """Note that a worker died. pytest takes the first answer to this hook only."""
        self._run.workers.crashed(report, sched)
        return True
