"""What allure-pytest is writing at this moment. allure's own types are loose; these are not."""

from __future__ import annotations

import time
from typing import TypeVar

import allure_commons
from allure_commons.model2 import ExecutableItem
from allure_commons.reporter import AllureReporter

Item = TypeVar("Item", bound=ExecutableItem)


def innermost(kind: type[Item]) -> Item | None:
    """The innermost test or fixture of that kind that runs in this thread.

    None between tests and while no results are written. Only to be asked in the thread that
    runs tests: elsewhere allure answers with whatever it happens to find.
    """
    for plugin in allure_commons.plugin_manager.get_plugins():
        reporter = getattr(plugin, "allure_logger", None)
        if isinstance(reporter, AllureReporter):
            found: Item | None = reporter.get_last_item(kind)  # type: ignore[no-untyped-call]  # allure
            return found
    return None


def now_ms() -> int:
    """Wall-clock time as allure writes it."""
    return time.time_ns() // 1_000_000
