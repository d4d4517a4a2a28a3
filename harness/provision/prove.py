"""What a testbed has to show before a test gets it."""

from __future__ import annotations

from harness.concurrency import side_by_side
from harness.provision.first_io import fill, note_what_stays
from harness.testbed.testbed import Testbed


def prove(testbed: Testbed) -> Testbed:
    """The testbed, after I/O on every path, and none before its target was seen to be its own."""
    testbed.prove_target()
    fill(testbed)
    side_by_side(lambda: note_what_stays(testbed), testbed.prove_paths)
    return testbed
