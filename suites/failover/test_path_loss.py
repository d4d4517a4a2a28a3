"""Losing paths under verified writes, verified reads and a paced probe, all at once."""

from __future__ import annotations

from harness.checks import promise_kept, undisturbed
from harness.faults import Fault
from harness.plugin import Judge
from harness.testbed import Testbed

BEFORE_S = 3
DURING_S = 3
AFTER_S = 3


def test_io_survives_a_loss(testbed: Testbed, judge: Judge, seed: int, loss: Fault) -> None:
    """Writes and reads go on without an error while a link, a portal or more is broken."""
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S)
        testbed.fail_over(loss, during_s=DURING_S, after_s=AFTER_S)
    judge(io.measurements_by_lun, *promise_kept()).require()


def test_io_survives_losing_each_path_in_turn(testbed: Testbed, judge: Judge, seed: int) -> None:
    """Each path in turn dies and heals. Another path always works meanwhile.

    The fault is the one that takes the fewest other paths: a portal, where paths share a link.
    """
    # Several paths may have one loss, such as those of a portal that two NICs lead to.
    every = dict.fromkeys(testbed.least_loss_of(path.name) for path in testbed.topology.paths)
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S)
        for loss in every:
            testbed.fail_over(loss, during_s=DURING_S, after_s=AFTER_S)
    judge(io.measurements_by_lun, *promise_kept()).require()


def test_io_waits_while_all_paths_are_lost(testbed: Testbed, judge: Judge, seed: int) -> None:
    """While all paths are dead I/O waits. When they are back it goes on, and no data is lost."""
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S)
        testbed.fail_over(testbed.all_paths_lost(), during_s=DURING_S, after_s=AFTER_S)
    judge(io.measurements_by_lun, *promise_kept()).require()


def test_io_runs_clean_without_a_fault(testbed: Testbed, judge: Judge, seed: int) -> None:
    """Without a fault I/O never stalls, so a stall in the other tests is caused by the fault."""
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=BEFORE_S + DURING_S + AFTER_S)
    judge(io.measurements_by_lun, *undisturbed(testbed.config.budget.slack_s)).require()
