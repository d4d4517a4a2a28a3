"""What lives as long as one run of pytest: configuration, listeners, results, report."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

import pytest

from harness.config import Config
from harness.errors import ReportError
from harness.reporting.allure_listener import AllureSteps
from harness.reporting.bill import format_bill
from harness.reporting.environment import write_environment
from harness.reporting.html import generate
from harness.reporting.progress import showing_progress
from harness.reporting.runs import RunFolder, alone, fresh_run, point_latest_at, prune
from harness.reporting.verdicts import Verdicts
from harness.steps import Bill, Spent, listening, step

KEY = pytest.StashKey["Run"]()


class Run:
    """Begun when pytest is configured; `close` ends it."""

    def __init__(self, config: pytest.Config, loaded: Config) -> None:
        self.config = loaded
        self.verdicts = Verdicts()
        self.bill = Bill()
        self.folder: RunFolder | None = None
        self.failed = False
        self.report: str = ""
        self.remarks: list[str] = []
        self._began = time.monotonic()
        self._stack = ExitStack()
        if wants_report(config):
            self.folder = fresh_run(config.rootpath / config.getoption("reports"))
            config.option.allure_report_dir = str(self.folder.results)
        self._stack.enter_context(self.verdicts.registered())
        self._stack.enter_context(listening(self.bill))
        self._stack.enter_context(listening(AllureSteps()))
        self._show_progress(config)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._stack.callback(signal.signal, number, signal.getsignal(number))
            signal.signal(number, _interrupt)

    def _show_progress(self, config: pytest.Config) -> None:
        if all("unit" in Path(arg).parts for arg in config.args):
            return  # they are over before a line could be read
        stream = self._stack.enter_context(_real_stderr(config))
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        before = reporter.ensure_newline if reporter is not None else lambda: None
        quiet = config.getoption("verbose") < 0
        self._stack.enter_context(showing_progress(stream, quiet=quiet, before_line=before))

    def note_environment(self, environment: dict[str, str]) -> None:
        """Say what the tests run on, for the front page of the report."""
        if self.folder is not None:
            write_environment(self.folder.results, environment)

    def render(self) -> None:
        """Make the HTML report; what hinders it is said, never raised: the results are safe."""
        if self.folder is None or not any(self.folder.results.iterdir()):
            return
        base = self.folder.path.parent
        try:
            with step("Make the report", Spent.REPORTING), alone(base):
                page = generate(
                    self.folder.results, self.folder.path, "Pathproof", history=self.folder.history
                )
                point_latest_at(self.folder)
                prune(base)
            self.report = (
                f"report: {page}" if page else f"no test left a result in {self.folder.results}"
            )
        except ReportError as error:
            self.report = f"results: {self.folder.results}\n{error}"

    def where_the_time_went(self) -> str:
        """The bill, as text."""
        return format_bill(self.bill, time.monotonic() - self._began)

    def close(self) -> None:
        self._stack.close()


@contextmanager
def _real_stderr(config: pytest.Config) -> Iterator[TextIO]:
    """Standard error as it was before pytest captured it."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        descriptor = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    with os.fdopen(descriptor, "w") as stream:
        yield stream


def wants_report(config: pytest.Config) -> bool:
    """Unit tests of the harness itself, listings and `--no-report` make none."""
    if config.getoption("no_report") or config.option.collectonly or hasattr(config, "workerinput"):
        return False
    return not all("selftest" in Path(arg).parts for arg in config.args)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """A polite end is an interrupt: everything is removed on the way out."""
    raise KeyboardInterrupt


def ignore_interrupts() -> None:
    """From here on the run cleans up after itself, and a second Ctrl-C must not stop that."""

    def say(_number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            sys.__stderr__.write("\ncleaning up; this takes a few seconds\n")  # type: ignore[union-attr]

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, say)
