"""What a testbed has to show before a test gets it."""

from __future__ import annotations

from harness.provision.first_io import fill
from harness.testbed.testbed import Testbed


def prove(testbed: Testbed) -> Testbed:
    """The testbed, after I/O on every path, and none before its target was seen to be its own."""
    testbed.prove_target()
    fill(testbed)
    testbed.prove_paths()
    return testbed
