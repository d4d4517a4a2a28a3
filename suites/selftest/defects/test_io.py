"""Planted defects of the I/O: errors, stalls, and a workload that does not do its work."""

from __future__ import annotations

from dataclasses import replace

from harness.checks import accounting_agrees
from harness.testbed import Testbed
from harness.topology import Role
from harness.units import KIB
from harness.workload import JobKind
from suites.selftest.defects.plants import AFTERWARDS_S, assert_detected, run_clean


def test_no_path_retry_fail_while_all_paths_are_lost(testbed: Testbed, seed: int) -> None:
    """fio must see errors, and so must we."""
    testbed.broken = "queueing was switched off on purpose"
    attachment = testbed.map.attachment
    table = ["dmsetup", "table", attachment.map_name]
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=3)
        attachment.stop_queueing()
        assert "queue_if_no_path" not in testbed.machine(Role.INITIATOR).run(table).stdout
        with testbed.fault(testbed.all_paths_lost()):
            testbed.map.wait_for_paths(active=0, failed=len(testbed.topology.paths))
            io.run_for(seconds=2)  # every job has given up by then: the block ends here
    assert_detected(
        "no_path_retry fail while all paths are lost",
        io.measurements,
        by="no I/O errors",
        fails="(errno 5)",
    )


def test_fio_is_killed_in_the_middle(testbed: Testbed, seed: int) -> None:
    """What it measured is gone with it: nothing can be said of the storage."""
    initiator = testbed.machine(Role.INITIATOR)
    kill = "pkill -KILL -x fio"  # fails if there is none
    assert_detected(
        "fio killed in the middle",
        run_clean(testbed, seed, amid=lambda: initiator.sh(kill)),
        by="evidence sound",
        unknown="fio left no report or no logs",
    )


def test_verification_is_switched_off(testbed: Testbed, seed: int) -> None:
    """What fio wrote does not carry what it could be recognised by."""
    writes, *others = testbed.layout.mixed(seed)
    measured = run_clean(testbed, seed, jobs=(replace(writes, verified=False), *others))
    assert [stream.verified for stream in measured.streams if stream.name == writes.name] == [False]
    assert_detected(
        "fio's verification switched off",
        measured,
        by="data intact",
        unknown="job 'write' wrote without checksums",
    )


def test_the_target_stands_still(testbed: Testbed, seed: int) -> None:
    """Its VM is paused for two seconds, and no fault was announced."""
    target = testbed.domain(Role.TARGET)
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=2)
        target.pause()
        try:
            assert not target.is_running
            io.run_for(seconds=2)
        finally:
            target.resume()
        io.run_for(seconds=AFTERWARDS_S)
    assert_detected(
        "the target stands still for two seconds",
        io.measurements,
        by="no stall",
        fails="I/O stalled 2.",
    )


def test_the_target_answers_but_its_disk_stalls(testbed: Testbed, seed: int) -> None:
    """The file system under the LUN is frozen for 20 s: NOPs are answered, writes are not."""
    target = testbed.machine(Role.TARGET)
    load = "sleep 0; fsfreeze --version"  # what is needed must be in memory by then
    # The last command fails if something has thawed it before.
    freeze = f"{load}; fsfreeze --freeze /; sleep 20; fsfreeze --unfreeze /"
    measured = run_clean(testbed, seed, amid=lambda: target.sh(freeze, timeout_s=120))
    assert_detected(
        "a target that answers but stalls 20 s without an error",
        measured,
        by="no stall",
        fails="I/O stalled 2",
    )


def test_bytes_that_fio_did_not_move(testbed: Testbed, seed: int) -> None:
    """Somebody else reads over a path: the two accounts no longer agree."""
    disk = testbed.map.paths[0].disk
    jobs = [replace(testbed.layout.unpaced(JobKind.RANDOM_READ, 16 * KIB, seed), iops=20)]
    reads = ["dd", f"if=/dev/{disk}", "of=/dev/null", "bs=64k", "count=200", "iflag=direct"]
    with testbed.io(jobs) as io:
        io.wait_until_running()
        io.start_phase()
        testbed.machine(Role.INITIATOR).run(reads)
        io.run_for(seconds=AFTERWARDS_S)
    assert_detected(
        "bytes on a path that fio did not move",
        io.measurements,
        by="accounting agrees",
        unknown="differ by",
        checks=[accounting_agrees(within=0.05)],
    )
