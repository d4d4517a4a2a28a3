"""What tests are skipped for is something that the run had to do without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.lacking import Lacking, LackingName
from harness.plugin.run import Run

CURES: dict[LackingName, str] = {
    "capability": "use a target that has it; docs/targets.md says which have what",
    "fault": "use a target and an initiator that Pathproof makes, or see docs/external.md",
}


@contextmanager
def noting_skip(run: Run, name: LackingName, test: str) -> Iterator[None]:
    """Note what `test` is skipped for, if it is skipped in the block."""
    try:
        yield
    except pytest.skip.Exception as skipped:
        note_skip(run, name, str(skipped.msg), test)
        raise


def note_skip(run: Run, name: LackingName, reason: str, test: str) -> None:
    """Note what `test` is skipped for."""
    run.note_lacking(Lacking(name, reason, CURES[name]), test=test)
