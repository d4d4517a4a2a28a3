"""pytest's hooks."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from harness.errors import HarnessError, VerdictFailed
from harness.plugin.options import add_options, load_config
from harness.plugin.run import KEY, Run, ignore_interrupts
from harness.reporting.labels import label_tests
from harness.reporting.verdicts import LABEL, Verdict, describe


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[KEY] = Run(config, load_config(config).config)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    run = config.stash[KEY]
    return [f"results: {run.folder.path}"] if run.folder else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fabric" in metafunc.fixturenames:
        fabrics = metafunc.config.stash[KEY].config.fabrics
        metafunc.parametrize("fabric", [fabric.name for fabric in fabrics])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.stash[KEY].folder is not None:
        label_tests(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    run = item.config.stash[KEY]
    run.verdicts.note(item, report, call)
    if report.failed:
        run.failed = True
        if item.config.getoption("keep_on_failure"):
            item.session.shouldstop = "a test failed, and its machines are kept"
        error = call.excinfo.value if call.excinfo else None
        known = error is not None and _is_ours(error)
        if known and error is not None and item.config.getoption("verbose") < 1:
            report.longrepr = describe(error)
    return report


def _is_ours(error: BaseException) -> bool:
    """Whether an error says in our own words what is wrong, so that no traceback is needed."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_ours(one) for one in error.exceptions)
    return isinstance(error, HarnessError | VerdictFailed)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """A broken lab is an error, also in the middle of a test; only the storage can fail."""
    verdict = dict(report.user_properties).get(LABEL) if report.when == "call" else None
    if report.failed and verdict in {Verdict.LAB, Verdict.UNKNOWN}:
        return "error", "E", "ERROR"
    return None


def pytest_keyboard_interrupt() -> None:
    ignore_interrupts()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[KEY].render()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    run = config.stash[KEY]
    for remark in run.remarks:
        terminalreporter.write_line(remark)
    if run.folder is not None:
        terminalreporter.write_line("")
        terminalreporter.write_line(run.where_the_time_went())


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    run = config.stash.get(KEY, None)
    if run is None:
        return
    run.close()
    if run.report:
        print(run.report)  # noqa: T201  # the last thing printed, after pytest's own last line
