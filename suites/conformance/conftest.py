"""What the suite's tests share."""

from __future__ import annotations

import pytest

from harness.testbed import Testbed
from suites import pages


def pytest_configure(config: pytest.Config) -> None:
    pages.heed(config)


@pytest.fixture
def logged_out(testbed: Testbed) -> Testbed:
    """A testbed whose target may be configured anew; every initiator is logged out."""
    if testbed.target.kind == "external":
        pytest.skip("nothing is configured on an external target")
    testbed.broken = "its target was configured anew on purpose"
    for initiator in testbed.initiators.values():
        initiator.log_out()
    return testbed
