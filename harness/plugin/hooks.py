"""pytest's hooks in every process of a run."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest
from _pytest._code.code import (
    ExceptionRepr,
    ReprEntryNative,
    ReprExceptionInfo,
    ReprFileLocation,
    ReprTraceback,
)

from harness.errors import ConfigError, HarnessError, LabCannot, VerdictFailed, defects
from harness.plugin.again import run_attempts
from harness.plugin.chosen import PARAMETER, chosen_losses, leave_out_other_tests
from harness.plugin.controller import Controller
from harness.plugin.fleet import labels_of
from harness.plugin.options import add_options, load_config
from harness.plugin.phase_notes import leave_notes
from harness.plugin.required import refuse_contradiction
from harness.plugin.requires import MARKER
from harness.plugin.run import KEY, Run
from harness.plugin.scheduler import register as register_scheduler
from harness.plugin.skips import note_skip
from harness.plugin.workers import SAID, refuse_unfit_distribution
from harness.reporting.blame import describe
from harness.reporting.labels import label_tests
from harness.reporting.runs import HISTORY
from harness.steps import Spent, step
from harness.topology import plan


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    refuse_unfit_distribution(config)
    config.addinivalue_line("markers", MARKER)
    try:
        run = config.stash[KEY] = Run(config, load_config(config).config)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    refuse_contradiction(config, run.config)
    if config.getoption("faults") is not None:
        if config.getoption("full"):
            raise pytest.UsageError("--full is every fault, and --faults chooses some: use one")
        try:
            chosen_losses(config)
        except ConfigError as error:
            raise pytest.UsageError(f"--faults: {error}") from error
    if config.stash[KEY].config.target.chap is not None:
        _show_no_values(config)
    history = config.rootpath / config.getoption("reports") / HISTORY
    register_scheduler(config, history=history, labels_of=labels_of(config))
    if not run.worker:
        config.pluginmanager.register(Controller(config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The parameters `loss`, `link` and `path`: once for each of the testbed.

    A test that gives its own values to one of these names keeps them.
    """
    own = {
        name.strip()
        for marker in metafunc.definition.iter_markers("parametrize")
        for name in _names(marker.kwargs.get("argnames") or marker.args[0])
    }
    wanted = {PARAMETER, "link", "path"}.intersection(metafunc.fixturenames) - own
    if not wanted:
        return
    topology = plan(metafunc.config.stash[KEY].config)
    if PARAMETER in wanted:
        every = chosen_losses(metafunc.config)
        faults, labels = [one.fault for one in every], [one.label for one in every]
        metafunc.parametrize(PARAMETER, faults, ids=labels)
    for name, places in (("link", topology.links), ("path", topology.paths)):
        if name in wanted:
            metafunc.parametrize(name, [place.name for place in places])


def _names(given: str | Sequence[str]) -> Sequence[str]:
    """The names of pytest.mark.parametrize."""
    return given.split(",") if isinstance(given, str) else given


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out_other_tests(config, items)
    if config.stash[KEY].results is not None:
        label_tests(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    item.config.stash[KEY].at_last_test = nextitem is None
    return run_attempts(item, nextitem)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say in the report of a test that is measured again why it is."""
    for number, reasons in enumerate(item.config.stash[KEY].attempts.earlier, 1):
        with step(f"Attempt {number} was unknown and does not count", Spent.REPORTING):
            for reason in reasons:
                with step(reason):
                    pass


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Skip a test that this lab has no means for; let no test pass if one of its checks did not."""
    run = item.config.stash[KEY]
    try:
        result = yield
    except LabCannot as reason:
        note_skip(run, "fault", reason.message, item.nodeid)
        pytest.skip(reason.message)
    run.require_what_was_judged()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    run = item.config.stash[KEY]
    blamed = run.verdicts.note(item, report, call)
    if call.when == "call":
        run.attempts.note(blamed, run.judged)
        if (document := run.take_verdict(item.nodeid, blamed)) is not None:
            run.note_verdict(document)
            run.attach_verdict(document)
    if report.failed:
        if call.when != "call" or not run.attempts.unknown:
            run.note_failure(item.session)
        error = call.excinfo.value if call.excinfo else None
        known = error is not None and _explains_itself(error) and not defects(error)
        if known and error is not None and item.config.getoption("verbose") < 1:
            report.longrepr = _told(describe(error), item)
        _hide_secrets(report, run, item)
    leave_notes(report, run.take_notes())
    return report


def _show_no_values(config: pytest.Config) -> None:
    """A traceback's arguments and locals may have parts of a secret, which no search finds."""
    config.option.showlocals = config.option.fulltrace = False
    if config.option.tbstyle in {"auto", "long"}:
        config.option.tbstyle = "short"


def _hide_secrets(report: pytest.TestReport, run: Run, item: pytest.Item) -> None:
    """Replace the secrets in the text of an error."""
    if (chap := run.config.target.chap) is not None:
        shown = str(report.longrepr)
        if (safe := chap.hidden_in(shown)) != shown:
            report.longrepr = _told(safe, item)


def _told(text: str, item: pytest.Item) -> ExceptionRepr:
    """Instead of a traceback; pytest's short summary takes the reason from it.

    In the only form that also travels from a worker (pytest_report_to_serializable).
    """
    path, line, _ = item.location
    return ReprExceptionInfo(
        reprtraceback=ReprTraceback(
            [ReprEntryNative([f"{text}\n"])], extraline=None, style="native"
        ),
        reprcrash=ReprFileLocation(path, line or 0, text),
    )


def _explains_itself(error: BaseException) -> bool:
    """Whether an error says itself what is wrong, so that no traceback is needed."""
    if isinstance(error, BaseExceptionGroup):
        return all(_explains_itself(one) for one in error.exceptions)
    return isinstance(error, HarnessError | VerdictFailed)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what the last fixtures said with the end of the worker."""
    run = session.config.stash[KEY]
    if run.worker:
        session.config.workeroutput[SAID] = run.take_notes()  # type: ignore[attr-defined]  # xdist's


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    run = config.stash.get(KEY, None)
    if run is None:
        return
    run.close()
    for line in run.last_lines():
        print(line)  # noqa: T201  # the last things printed, after pytest's own last line
