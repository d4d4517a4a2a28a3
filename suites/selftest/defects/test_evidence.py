"""Planted defects of what is measured with: the kernel's log, the clocks."""

from __future__ import annotations

import pytest

from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.plants import assert_detected, run_clean

# The resident program; the brackets keep a pattern from matching the shell that looks for it.
# `pkill` fails if there is none.
OBSERVER = "'[p]ython3 -I -S -u'"
_WARNING = "WARNING: CPU: 0 PID: 7 at drivers/target/planted.c:1 planted+0x1/0x2"


def test_a_kernel_warning_in_the_targets_log(testbed: Testbed, seed: int) -> None:
    """The storage works on; its kernel is no longer to be trusted."""
    warn = f"echo '<4>{_WARNING}' >/dev/kmsg; dmesg | grep --fixed-strings '{_WARNING}'"
    target = testbed.machine(Role.TARGET)
    assert_detected(
        "a kernel warning in the target's log",
        run_clean(testbed, seed, amid=lambda: target.sh(warn)),
        by="kernel sound",
        fails="WARNING: CPU: 0 PID: 7",
    )


def test_an_overrun_of_the_kernel_log(testbed: Testbed, seed: int) -> None:
    """Records are overwritten while the program that follows the log stands still."""
    flood = (
        "sysctl --quiet --write kernel.printk_devkmsg=on\n"
        f"pkill --signal STOP --full {OBSERVER}\n"
        "yes planted | dd of=/dev/kmsg bs=800 count=4000 iflag=fullblock status=none\n"
        f"pkill --signal CONT --full {OBSERVER}\n"
        "dmesg | sed --quiet 1p | grep planted"  # all that was there before is overwritten
    )
    target = testbed.machine(Role.TARGET)
    assert_detected(
        "an overrun of the kernel log",
        run_clean(testbed, seed, amid=lambda: target.sh(flood)),
        by="evidence sound",
        unknown="records of the target's kernel log were lost",
    )


def test_a_guests_clock_jumps_by_an_hour(testbed: Testbed, seed: int) -> None:
    """Wall clocks are in logs and certificates; a machine whose clock jumps is not at rest."""
    initiator = testbed.machine(Role.INITIATOR)
    jump = "before=$(date +%s); date -s '+1 hour'; test $(date +%s) -ge $((before + 3600))"
    assert_detected(
        "a guest's clock jumps by an hour",
        run_clean(testbed, seed, amid=lambda: initiator.sh(jump)),
        by="evidence sound",
        unknown="the initiator's wall clock jumped by 3",
    )


def test_an_observer_that_stands_still(testbed: Testbed, seed: int) -> None:
    """It goes on after three seconds; what became of the paths meanwhile nobody saw."""
    initiator = testbed.machine(Role.INITIATOR)
    pause = (
        f"pkill --signal STOP --full {OBSERVER}; sleep 3\n"
        f"ps -o stat= -p $(pgrep --delimiter , --full {OBSERVER}) || :\n"
        f"pkill --signal CONT --full {OBSERVER}"
    )
    states: list[str] = []
    measured = run_clean(
        testbed, seed, amid=lambda: states.extend(initiator.sh(pause).stdout.split())
    )
    assert {state[0] for state in states} == {"T"}
    assert_detected(
        "the observer of the initiator stands still for three seconds",
        measured,
        by="evidence sound",
        unknown="no sample of the initiator for ",
    )


@pytest.mark.parametrize(
    ("role", "plant"),
    [
        (Role.INITIATOR, "the observer of the initiator dies"),
        (Role.TARGET, "the observer of the target dies"),
    ],
)
def test_an_observer_dies(testbed: Testbed, seed: int, role: Role, plant: str) -> None:
    """What it saw before is judged, nothing passes, and its machine lives on."""
    testbed.broken = "its observer was killed on purpose"
    machine = testbed.machine(role)
    kill = f"pkill --signal KILL --full {OBSERVER}"
    assert_detected(
        plant,
        run_clean(testbed, seed, amid=lambda: machine.sh(kill)),
        by="evidence sound",
        unknown=f"the {role} was not watched to the end",
    )
    machine.run(["true"])
