"""Turns the harness's steps and evidence into Allure's.

The tree is built here and not through allure's own step hooks: those nest by thread, while our
steps know their parent even where it began in another thread.
"""

from __future__ import annotations

import threading
import uuid

import allure_commons
import pytest
from allure_commons.model2 import (
    ATTACHMENT_PATTERN,
    ExecutableItem,
    Status,
    StatusDetails,
    TestStepResult,
)
from allure_commons.model2 import Attachment as AllureAttachment

from harness.reporting.blame import Blame, blame_of, describe
from harness.reporting.reporter import innermost, now_ms
from harness.steps import Attachment, Listener, Step

_EXTENSIONS = {
    "application/json": "json",
    "application/toml": "toml",
    "application/x-npz": "npz",
    "application/xml": "xml",
    "image/png": "png",
    "image/svg+xml": "svg",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
    "text/tab-separated-values": "tsv",
}


class AllureSteps(Listener):
    """Writes every step below the test or fixture that runs, and every attachment in its step.

    Steps of threads nest where they were spawned. A step outside any test and fixture leaves no
    trace; an attachment there becomes one of the whole run. Made in the thread that runs tests.
    """

    def __init__(self) -> None:
        self._home = threading.get_ident()
        self._open: dict[int, tuple[TestStepResult, ExecutableItem | None]] = {}

    def started(self, step: Step) -> None:
        result = TestStepResult(name=step.title, start=now_ms())
        outer = self._open.get(step.parent.number) if step.parent else None
        owner = self._owner() if self._at_home else outer[1] if outer else None
        if outer is not None and outer[1] is owner:
            outer[0].steps.append(result)
        elif owner is not None:
            # The first step in this test or fixture; one left open by a fixture is no parent.
            owner.steps.append(result)
        self._open[step.number] = (result, owner)

    def progressed(self, step: Step, message: str, fraction: float | None) -> None:
        """Progress is for those who watch; a report tells what came of it."""

    def attached(self, step: Step | None, attachment: Attachment) -> None:
        found = self._open.get(step.number) if step else None
        owner = self._owner() if self._at_home else found[1] if found else None
        place = found[0] if found and found[1] is owner else owner
        if owner is None or place is None:
            allure_commons.plugin_manager.hook.global_attach_data(
                body=attachment.content,
                name=attachment.name,
                attachment_type=attachment.media_type,
                extension=_extension(attachment),
            )
            return
        file_name = ATTACHMENT_PATTERN.format(prefix=uuid.uuid4(), ext=_extension(attachment))
        allure_commons.plugin_manager.hook.report_attached_data(
            body=attachment.content, file_name=file_name
        )
        place.attachments.append(
            AllureAttachment(name=attachment.name, source=file_name, type=attachment.media_type)
        )

    def finished(self, step: Step, error: BaseException | None) -> None:
        opened = self._open.pop(step.number, None)
        if opened is None:
            return
        result = opened[0]
        result.stop = now_ms()
        result.status = _status(error)
        if error is not None:
            result.statusDetails = StatusDetails(message=describe(error))

    @property
    def _at_home(self) -> bool:
        return threading.get_ident() == self._home

    def _owner(self) -> ExecutableItem | None:
        return innermost(ExecutableItem)


def _status(error: BaseException | None) -> str:
    if error is None:
        return str(Status.PASSED)
    if isinstance(error, pytest.skip.Exception):
        return str(Status.SKIPPED)
    failed = blame_of(error, during_call=True) is Blame.STORAGE
    return str(Status.FAILED if failed else Status.BROKEN)


def _extension(attachment: Attachment) -> str:
    return _EXTENSIONS.get(attachment.media_type, "bin")
