"""What is done in haste after a failure, so that I/O can be ended at all."""

from __future__ import annotations

import sys
from collections.abc import Callable

from harness.concurrency import side_by_side
from harness.errors import HarnessError, defects
from harness.steps import attach
from harness.testbed.protocols import MeasuredTestbed


def clear_up(testbed: MeasuredTestbed) -> None:
    """Heal, and stop queueing on every map even if that fails.

    What fails of it is attached, and hides nothing; a programming error is raised.
    """
    try:
        _tried(testbed.heal)
    finally:
        side_by_side(
            *((lambda one=one: _tried(one.attachment.stop_queueing)) for one in testbed.maps)
        )


def _tried(action: Callable[[], object]) -> None:
    led_here = sys.exception()
    try:
        action()
    except HarnessError as error:
        if defects(error, beyond=led_here):
            raise
        attach("clearing up failed", str(error))
