"""Who is to blame for a test that did not pass: the storage, the lab, a program, or no one knows.

Every such test gets the label `verdict`, by which reports/allurerc.mjs sorts into categories.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import allure_commons
import pytest
from allure_commons.model2 import ExecutableItem, Label, Status, StatusDetails, TestResult
from allure_commons.types import LabelType

from harness.errors import CouldNotTell, HarnessError, VerdictFailed, defects, leaves
from harness.reporting.labels import title_of
from harness.reporting.reporter import innermost

LABEL = "verdict"
QUICK_MS = 20  # a fixture as quick as this that says nothing is not worth a line


class Blame(StrEnum):
    """Who or what kept a test from passing. A pass has no such label."""

    STORAGE = "storage"
    LAB = "lab"
    DEFECT = "defect"
    UNKNOWN = "unknown"


_STATUS = {
    Blame.STORAGE: Status.FAILED,
    Blame.LAB: Status.BROKEN,
    Blame.DEFECT: Status.BROKEN,
    Blame.UNKNOWN: Status.BROKEN,
}


def blame_of(error: BaseException, *, during_call: bool) -> Blame:
    """Who is to blame, by what was raised.

    A `VerdictFailed` anywhere in a group, or behind an error of the clean-up that followed it,
    was proven and stands. Otherwise a programming error, of Pathproof or of the test, outweighs
    every error of the lab, and that `CouldNotTell`. A plain failed assertion blames the storage
    only in the test itself, never in a fixture.
    """
    if any(isinstance(one, VerdictFailed) for one in _chain(error)):
        return Blame.STORAGE
    raised = list(leaves(error))
    asserted = [isinstance(one, AssertionError | pytest.fail.Exception) for one in raised]
    if during_call and any(asserted):
        return Blame.STORAGE
    if any(not isinstance(one, AssertionError) for one in defects(error)):
        return Blame.DEFECT
    if raised and all(isinstance(one, CouldNotTell) for one in raised):
        return Blame.UNKNOWN
    return Blame.LAB


class BlameLabels:
    """Collects the verdict of every test and writes it into its Allure result.

    Register with `allure_commons` through `registered()`, and call `note` from a wrapper around
    `pytest_runtest_makereport`. `worker` is the name of the worker that this process is, if any.
    """

    def __init__(self, *, worker: str = "") -> None:
        self._worker = worker
        self._noted: dict[str, tuple[Blame, BaseException | None]] = {}

    @contextmanager
    def registered(self) -> Iterator[BlameLabels]:
        """Listen to allure until the block ends. Works whether or not results are written."""
        allure_commons.plugin_manager.register(self)
        try:
            yield self
        finally:
            allure_commons.plugin_manager.unregister(self)

    def note(
        self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]
    ) -> Blame | None:
        """Remember what one phase of the running test said; None where it said nothing bad.

        The first phase that went wrong decides, but a broken promise of the storage always
        stands. It is also left in the test's `user_properties`, where JUnit reports look. The
        test gets its readable title, too.
        """
        result = innermost(TestResult)
        if result is not None and result.name == item.name:
            result.name = title_of(item)
        if not report.failed:
            return None
        error = call.excinfo.value if call.excinfo else None
        verdict = blame_of(error, during_call=report.when == "call") if error else Blame.LAB
        before = dict(item.user_properties).get(LABEL)
        if before is not None and (verdict is not Blame.STORAGE or before == verdict):
            return verdict
        for properties in (item.user_properties, report.user_properties):
            properties[:] = [(name, value) for name, value in properties if name != LABEL]
            properties.append((LABEL, verdict.value))
        if result is not None:
            self._noted[result.uuid] = (verdict, error)
        return verdict

    @allure_commons.hookimpl(tryfirst=True)
    def report_result(self, result: Any) -> None:
        """Allure is about to write a test's result."""
        result.description = inspect.cleandoc(result.description or "") or None
        for parameter in result.parameters:
            parameter.value = _readable(str(parameter.value))
        _keep_first_host(result)
        self._name_worker(result)
        noted = self._noted.pop(result.uuid, None)
        if noted is None:
            return
        verdict, error = noted
        result.labels.append(Label(LABEL, verdict.value))
        result.status = _STATUS[verdict]
        if error is not None:
            details = result.statusDetails = result.statusDetails or StatusDetails()
            details.message = describe(error)
            if isinstance(error, VerdictFailed | CouldNotTell):
                details.trace = None  # the checks speak for themselves, not where they were called

    def _name_worker(self, result: TestResult) -> None:
        """allure names process and thread, which tells a reader nothing."""
        for label in result.labels:
            if label.name == LabelType.THREAD:
                label.value = self._worker or "main"

    @allure_commons.hookimpl(tryfirst=True)
    def report_container(self, container: Any) -> None:
        """Allure is about to write the set-up and clean-up of a fixture."""
        container.befores[:] = [one for one in container.befores if _tells_something(one)]
        container.afters[:] = [one for one in container.afters if _tells_something(one)]
        for after in container.afters:
            after.name = f"{after.name.partition('::')[0]}: clean-up"


def _tells_something(fixture: ExecutableItem) -> bool:
    """False for parameters, which pytest makes fixtures of, and for its own finalizers.

    The latter are the entries `name::<lambda>` that pytest 9.1 and newer cause.
    """
    took_ms = (fixture.stop or 0) - (fixture.start or 0)
    silent = fixture.status in {None, Status.PASSED} and took_ms < QUICK_MS
    return bool(fixture.steps or fixture.attachments) or not silent


def _keep_first_host(result: TestResult) -> None:
    """The harness has set a label; allure adds that of the machine that pytest runs on."""
    for label in [label for label in result.labels if label.name == LabelType.HOST][1:]:
        result.labels[:] = [other for other in result.labels if other is not label]


def describe(error: BaseException) -> str:
    """What to show of an error: our own in their words, others with their type."""
    known = isinstance(error, HarnessError | VerdictFailed)
    if isinstance(error, BaseExceptionGroup) and not known:
        return "\n".join([error.message, *(f"- {describe(one)}" for one in error.exceptions)])
    return str(error) if known else f"{type(error).__name__}: {error}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The leaves of an error and of those during whose handling it came up."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        else:
            yield one
        waiting += [one.__cause__, None if one.__suppress_context__ else one.__context__]


def _readable(value: str) -> str:
    """A class by its name, not as `"<class 'harness.faults.LinkDown'>"`; text without quotes."""
    value = re.sub(r"^'(.*)'$", r"\1", value)
    return re.sub(r"<class '(?:[\w<>]+\.)*(\w+)'>", r"\1", value)
