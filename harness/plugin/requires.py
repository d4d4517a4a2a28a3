"""`@pytest.mark.requires(…)`: a test is skipped if the target cannot do what it is about."""

from __future__ import annotations

import pytest

from harness.testbed import Testbed
from harness.testbed.probe import capabilities_of

MARKER = (
    "requires(*capabilities): skip the test, with the reason, unless the target has all of these"
)


def skip_unless_capable(item: pytest.Item, testbed: Testbed) -> None:
    """Skip `item` if the testbed's target lacks what it requires.

    Raises ValueError for an unknown capability.
    """
    wanted = [name for marker in item.iter_markers("requires") for name in marker.args]
    if wanted and (lacking := capabilities_of(testbed).lacking(*wanted)):
        pytest.skip(f"target {testbed.target.kind} has no {', '.join(lacking)}")
