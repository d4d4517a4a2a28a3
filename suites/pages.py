"""Pages of docs/ that runs write what they saw into, if they are asked to: `--update-docs`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.locks import wait_for_lock

_wanted = False


def heed(config: pytest.Config) -> None:
    """From a suite's `pytest_configure`: whether this run was asked to."""
    global _wanted  # noqa: PLW0603  # of this run, whichever test notes something
    _wanted = bool(config.getoption("update_docs"))


def change(page: Path, changed: Callable[[str], str]) -> None:
    """Put what `changed` makes of the page's text in its place, if wanted; workers take turns."""
    if not _wanted:
        return
    with page.open("r+") as file:
        wait_for_lock(file)
        text = file.read()
        if (updated := changed(text)) != text:
            file.seek(0)
            file.truncate()
            file.write(updated)
