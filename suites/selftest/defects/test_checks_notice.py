"""Every check is seen to fail: each defect is planted on real machines and must be found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.checks import (
    Check,
    Finding,
    Verdict,
    accounting_agrees,
    data_intact,
    fault_took_effect,
    judge,
    no_io_errors,
    no_stall_beyond,
    paths_restored,
    stall_within_budget,
    throughput_recovered,
)
from harness.faults import Fault, Lab, LinkDown, SilentDrop, Together
from harness.measurements import Measurements
from harness.testbed import Testbed
from harness.topology import Role
from harness.units import KIB
from harness.workload import JobKind


def nothing() -> None:
    """No plant."""


@dataclass(frozen=True)
class NoEffect(Fault):
    """A fault that claims to act and does not, like one that hits the wrong NIC."""

    fabric: str

    @property
    def fabrics(self) -> tuple[str, ...]:
        return (self.fabric,)

    @property
    def description(self) -> str:
        return "nothing is broken"

    def inject(self, lab: Lab) -> None:
        """Do nothing."""

    confirm = heal = confirm_healed = inject


def lose_a_path(
    testbed: Testbed,
    seed: int,
    fault: Fault,
    *,
    before: Callable[[], object] = nothing,
    after: Callable[[], object] = nothing,
    uproot: Callable[[], object] = nothing,
) -> Measurements:
    """A failover as the suite runs it, with a plant before the fault and one after healing.

    `uproot` takes the plant away again before the read-back.
    """
    everything = len(testbed.fabrics())
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.before_read_back(uproot)
        io.wait_until_running()
        io.run_for(seconds=3)
        before()
        with testbed.fault(fault):
            lost = 0 if isinstance(fault, NoEffect) else len(fault.fabrics)
            testbed.map.wait_for_paths(active=everything - lost, failed=lost)
            io.run_for(seconds=2)
        testbed.map.wait_for_paths(active=everything)
        after()
        io.start_phase()
        io.run_for(seconds=3)
    return io.measurements


def found(measurements: Measurements, check: Check) -> Finding:
    """What one check says; printed, so that `-s` shows every figure."""
    finding = judge(measurements, check).findings[0]
    sys.stdout.write(f"\n{finding.check}: {finding.verdict}: {finding.message}\n")
    return finding


def test_io_errors_are_noticed(testbed: Testbed, seed: int) -> None:
    """All paths are lost while the map does not queue: fio must see errors, and so must we."""
    everything = Together(tuple(SilentDrop(f) for f in testbed.fabrics()))
    try:
        finding = _errors_without_queueing(testbed, seed, everything)
    finally:
        testbed.broken = "queueing was switched off on purpose"
    assert finding.verdict is Verdict.FAIL
    assert "I/O error" in finding.message


def _errors_without_queueing(testbed: Testbed, seed: int, everything: Fault) -> Finding:
    jobs = testbed.layout.mixed(seed)
    gave_up = True
    with testbed.io(jobs) as io:
        io.wait_until_running()
        testbed.initiator.stop_queueing()
        with testbed.fault(everything):
            testbed.map.wait_for_paths(active=0, failed=len(testbed.fabrics()))
            io.run_for(seconds=2)  # every job has given up by then: the block ends here
            gave_up = False
    assert gave_up
    return found(io.measurements, no_io_errors())


def test_a_lost_block_is_noticed(testbed: Testbed, seed: int) -> None:
    """One acknowledged block is blanked behind fio's back, after the last write to it."""
    area = testbed.layout.write_area
    block = testbed.config.workload.block_size
    blank = f"dd if=/dev/zero of={testbed.initiator.device} oflag=direct bs={block}"

    def damage() -> None:
        # A fifth of the area, so that acknowledged blocks are certainly among them.
        count = area.size // block // 5
        testbed.machine(Role.INITIATOR).sh(f"{blank} seek={area.offset // block} count={count}")

    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=4)
        io.before_read_back(damage)
    finding = found(io.measurements, data_intact())
    assert finding.verdict is Verdict.FAIL
    assert "blank at offset" in finding.message


def test_a_fault_without_effect_is_noticed(testbed: Testbed, seed: int) -> None:
    """The fault hits nothing: the verdict is unknown, whatever else looks fine."""
    finding = found(lose_a_path(testbed, seed, NoEffect("a")), fault_took_effect())
    assert finding.verdict is Verdict.UNKNOWN
    assert "no effect" in finding.message


def test_a_stall_beyond_the_budget_is_noticed(testbed: Testbed, seed: int) -> None:
    """recovery_tmo is raised behind the settings' back: the stall exceeds what they allow."""
    raise_it = "for s in /sys/class/iscsi_session/*/recovery_tmo; do echo {} > $s; done"
    machine = testbed.machine(Role.INITIATOR)
    try:
        measured = lose_a_path(
            testbed, seed, LinkDown("a"), before=lambda: machine.sh(raise_it.format(8))
        )
    finally:
        machine.sh(raise_it.format(1))
    finding = found(measured, stall_within_budget())
    assert finding.verdict is Verdict.FAIL


def test_slow_paths_after_healing_are_noticed(testbed: Testbed, seed: int) -> None:
    """Both paths come back at a fraction of their speed."""
    machine = testbed.machine(Role.INITIATOR)
    nics = [testbed.nic(Role.INITIATOR, f) for f in testbed.fabrics()]
    slow = "\n".join(f"tc qdisc replace dev {nic} root netem delay 80ms" for nic in nics)
    normal = "\n".join(f"tc qdisc delete dev {nic} root" for nic in nics)
    measured = lose_a_path(
        testbed,
        seed,
        LinkDown("a"),
        after=lambda: machine.sh(slow),
        uproot=lambda: machine.sh(normal),
    )
    finding = found(measured, throughput_recovered(at_least=0.9))
    assert finding.verdict is Verdict.FAIL


def test_a_path_that_stays_away_is_noticed(testbed: Testbed, seed: int) -> None:
    """After healing one path leaves the map, and is gone at the end."""
    initiator, path = testbed.initiator, testbed.map.paths[0].name
    try:
        measured = lose_a_path(
            testbed, seed, LinkDown("b"), after=lambda: initiator.take_path_away(path)
        )
    finally:
        initiator.give_path_back(path)
    finding = found(measured, paths_restored())
    assert finding.verdict is Verdict.FAIL
    assert "not active at the end" in finding.message


def test_a_stall_without_a_fault_is_noticed(testbed: Testbed, seed: int) -> None:
    """The target's VM stands still for two seconds, and no fault was announced."""
    target = testbed.domain(Role.TARGET)
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=2)
        target.pause()
        try:
            io.run_for(seconds=2)
        finally:
            target.resume()
        io.run_for(seconds=2)
    finding = found(io.measurements, no_stall_beyond(testbed.config.budget.slack_s))
    assert finding.verdict is Verdict.FAIL


def test_bytes_that_fio_did_not_move_are_noticed(testbed: Testbed, seed: int) -> None:
    """Somebody else reads over a path: the two accounts no longer agree."""
    path = testbed.map.paths[0].name
    jobs = [replace(testbed.layout.unpaced(JobKind.RANDOM_READ, 16 * KIB, seed), iops=20)]
    with testbed.io(jobs) as io:
        io.wait_until_running()
        io.start_phase()
        reads = ["dd", f"if=/dev/{path}", "of=/dev/null", "bs=64k", "count=200", "iflag=direct"]
        testbed.machine(Role.INITIATOR).run(reads)
        io.run_for(seconds=2)
    finding = found(io.measurements, accounting_agrees(within=0.05))
    assert finding.verdict is Verdict.UNKNOWN
