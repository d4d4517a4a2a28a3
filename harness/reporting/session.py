"""All that the pytest plugin has to say to the report, in the order of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.errors import ReportError
from harness.reporting.allure_listener import AllureSteps
from harness.reporting.environment import write_environment
from harness.reporting.html import generate
from harness.reporting.labels import label_tests
from harness.reporting.runs import RunFolder, alone, fresh_run, point_latest_at, prune
from harness.reporting.verdicts import Verdict, Verdicts
from harness.steps import listening


@dataclass
class ReportSession:
    """The report of one pytest run. Made by `begin_report`; `finish` renders, `close` lets go."""

    folder: RunFolder
    results: Path
    _verdicts: Verdicts = field(default_factory=Verdicts)
    _stack: ExitStack = field(default_factory=ExitStack)

    def listen(self) -> None:
        """Begin to turn steps, evidence and verdicts into results."""
        self._stack.enter_context(self._verdicts.registered())
        self._stack.enter_context(listening(AllureSteps()))

    def label(self, items: Iterable[pytest.Item], *, host: str = "") -> None:
        """For `pytest_collection_modifyitems`: labels set later would miss skipped tests."""
        label_tests(items, host=host)

    def note(
        self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]
    ) -> Verdict | None:
        """For a wrapper around `pytest_runtest_makereport`, once the report is made."""
        return self._verdicts.note(item, report, call)

    def describe(self, environment: Mapping[str, str]) -> None:
        """Say what the run runs on; best before the first test, so that it survives a crash."""
        write_environment(self.results, environment)

    def finish(self, title: str) -> Path | None:
        """Render, for `pytest_unconfigure`; the path of the page, None if no test ran.

        Raises ReportError when it cannot be rendered; the results stay in `results`.
        """
        self.close()
        base = self.folder.path.parent
        if not any(self.results.glob("*-result.json")):
            self._remove_empty()
            return None
        with alone(base):
            try:
                return generate(self.results, self.folder.path, title, history=self.folder.history)
            finally:
                point_latest_at(self.folder)
                prune(base)

    def close(self) -> None:
        """Stop listening; harmless when done twice."""
        self._stack.close()

    def _remove_empty(self) -> None:
        (self.folder.results / "environment.properties").unlink(missing_ok=True)
        for path in (self.folder.results, self.folder.path):
            try:
                path.rmdir()
            except OSError:  # something was left there, so it is not ours to remove
                return


def begin_report(config: pytest.Config, base: Path) -> ReportSession | None:
    """Prepare a fresh folder and tell allure-pytest of it; for `pytest_configure(tryfirst=True)`.

    A folder given with --alluredir keeps the results instead, and must hold none from before.
    None in workers of xdist (they are told by the controller) and when only collecting.
    """
    if hasattr(config, "workerinput") or config.option.collectonly:
        return None
    folder = fresh_run(base)
    given = config.option.allure_report_dir
    results = Path(given).absolute() if given else folder.results
    if given and any(results.glob("*-result.json")):
        folder.results.rmdir()
        folder.path.rmdir()
        raise ReportError(
            f"{results} already holds results", hint="name an empty folder with --alluredir"
        )
    config.option.allure_report_dir = str(results)
    session = ReportSession(folder, results)
    session.listen()
    return session
