"""Losing paths under verified writes, verified reads and a paced probe, all at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.checks import promise_kept, undisturbed
from harness.faults import Fault, InitiatorDrop, LinkDown, PeerLinkDown, SilentDrop, Together
from harness.plugin import Judge
from harness.testbed import Testbed

BEFORE_S = 3
DURING_S = 3
AFTER_S = 3


@pytest.mark.parametrize("kind", [LinkDown, PeerLinkDown, SilentDrop, InitiatorDrop])
def test_io_survives_losing_one_path(
    testbed: Testbed, judge: Judge, seed: int, kind: Callable[[str], Fault], fabric: str
) -> None:
    """Writes and reads go on without an error while one fabric is dead."""
    everything = len(testbed.fabrics())
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S)
        with testbed.fault(kind(fabric)):
            testbed.map.wait_for_paths(active=everything - 1, failed=1)
            io.run_for(seconds=DURING_S)
        testbed.map.wait_for_paths(active=everything)
        io.start_phase()
        io.run_for(seconds=AFTER_S)
    judge(io.measurements, *promise_kept()).require()


def test_io_survives_losing_each_path_in_turn(testbed: Testbed, judge: Judge, seed: int) -> None:
    """One fabric dies and heals, then the other; never both at once."""
    everything = len(testbed.fabrics())
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S)
        for fabric in testbed.fabrics():
            with testbed.fault(LinkDown(fabric)):
                testbed.map.wait_for_paths(active=everything - 1, failed=1)
                io.run_for(seconds=DURING_S)
            testbed.map.wait_for_paths(active=everything)
            io.start_phase()
            io.run_for(seconds=AFTER_S)
    judge(io.measurements, *promise_kept()).require()


def test_io_waits_while_all_paths_are_lost(testbed: Testbed, judge: Judge, seed: int) -> None:
    """Without any path I/O queues; when paths are back every byte is there, without an error."""
    everything = testbed.fabrics()
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S)
        with testbed.fault(Together(tuple(map(testbed.silent_drop, everything)))):
            testbed.map.wait_for_paths(active=0, failed=len(everything))
            io.run_for(seconds=DURING_S)
        testbed.map.wait_for_paths(active=len(everything))
        io.start_phase()
        io.run_for(seconds=AFTER_S)
    judge(io.measurements, *promise_kept()).require()


def test_io_runs_clean_without_a_fault(testbed: Testbed, judge: Judge, seed: int) -> None:
    """Nothing is broken, so nothing may stall: what the other tests see is the faults' doing."""
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S + DURING_S + AFTER_S)
    judge(io.measurements, *undisturbed(testbed.config.budget.slack_s)).require()
