"""I/O that never ends, and machines that stand still: each is ended in time, with evidence."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.checks import Verdict, judge, no_io_errors
from harness.errors import HypervisorError, MachineError
from harness.steps import Attachment, Listener, Step, listening
from harness.testbed import Testbed
from harness.topology import Role

WITHIN_S = 15.0
ENDED_WITHIN_S = 60.0


class Evidence(Listener):
    """Everything that was attached, by its name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def attached(self, step: Step | None, attachment: Attachment) -> None:
        self.texts[attachment.name] = attachment.content.decode()
        sys.stdout.write(f"\n--- {attachment.name}\n{self.texts[attachment.name][-1500:]}\n")


@contextmanager
def ended_in_time(within_s: float) -> Iterator[Evidence]:
    """The block must be over ENDED_WITHIN_S after `within_s`."""
    started = time.monotonic()
    with listening(evidence := Evidence()):
        yield evidence
    late_s = time.monotonic() - started - within_s
    sys.stdout.write(f"\nover {late_s:.1f} s after the deadline\n")
    assert late_s <= ENDED_WITHIN_S


def test_io_that_waits_for_ever_fails_in_time(testbed: Testbed, seed: int) -> None:
    """All paths fall silent, the map queues, nothing is healed; a reader cannot even be killed."""
    reader = ["dd", f"if={testbed.map.device}", "of=/dev/null", "iflag=direct"]
    with ended_in_time(WITHIN_S) as evidence:
        with testbed.io(testbed.layout.mixed(seed), within_s=WITHIN_S) as io:
            io.wait_until_running()
            testbed.all_paths_lost().inject(testbed)
            with testbed.machine(Role.INITIATOR).background(reader):
                io.run_for(seconds=3600)
        finding = judge(io.measurements, no_io_errors()).findings[0]
    sys.stdout.write(f"{finding.verdict}: {finding.message}\n{io.cut_short}\n")
    assert finding.verdict is Verdict.FAIL
    assert "I/O errors" in finding.message
    assert "(dd) D" in evidence.texts["initiator blocked tasks"]
    assert "(fio) " in evidence.texts["initiator blocked tasks"]
    assert "queue_if_no_path" in evidence.texts["device mapper"]
    assert "sysrq: Show Blocked State" in evidence.texts["initiator kernel stacks"]
    assert "libvirt: running" in evidence.texts["initiator virtual machine"]


def test_the_next_test_has_a_whole_testbed(testbed: Testbed, seed: int) -> None:
    """Whatever the last one left behind."""
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=3)
    finding = judge(io.measurements, no_io_errors()).findings[0]
    assert finding.verdict is Verdict.PASS, finding.message


def test_an_initiator_that_stands_still_ends_the_test(testbed: Testbed, seed: int) -> None:
    """Long before the deadline: its power is cut, and the lab is to blame."""
    with ended_in_time(0) as evidence:
        with pytest.raises(MachineError, match="the initiator does not answer") as loss:
            _freeze(testbed, seed, Role.INITIATOR, within_s=3600)
        assert "every VM of the testbed was powered off" in str(loss.value)
    assert "libvirt: paused" in evidence.texts["initiator virtual machine"]
    assert "initiator console" in evidence.texts
    assert testbed.broken


def test_a_target_that_the_hypervisor_stopped_is_the_labs_fault(
    testbed: Testbed, seed: int
) -> None:
    """I/O hangs as if the storage were to blame, and it is not."""
    with (
        ended_in_time(WITHIN_S),
        pytest.raises(HypervisorError, match=r"the target does not answer: .* paused"),
    ):
        _freeze(testbed, seed, Role.TARGET, within_s=WITHIN_S)


def _freeze(testbed: Testbed, seed: int, role: Role, *, within_s: float) -> None:
    with testbed.io(testbed.layout.mixed(seed), within_s=within_s) as io:
        io.wait_until_running()
        testbed.domain(role).pause()
        io.run_for(seconds=3600)


def test_a_target_whose_kernel_panics_fails(testbed: Testbed, seed: int) -> None:
    """It is what is judged: I/O without an end fails, and its console says why."""
    with ended_in_time(WITHIN_S) as evidence:
        with testbed.io(testbed.layout.mixed(seed), within_s=WITHIN_S) as io:
            io.wait_until_running()
            testbed.machine(Role.TARGET).start(["sh", "-c", "echo c >/proc/sysrq-trigger"])
            io.run_for(seconds=3600)
        finding = judge(io.measurements, no_io_errors()).findings[0]
    assert finding.verdict is Verdict.FAIL
    assert "Kernel panic" in evidence.texts["target console"]
