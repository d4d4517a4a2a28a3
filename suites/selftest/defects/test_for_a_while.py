"""Planted defects of time, wires and clocks that are gone again long before the I/O is over."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from harness.analysis.stall import worst_stall
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.packets import hamper, relieve, reset, silence
from suites.selftest.defects.plants import (
    assert_detected,
    first_link_down,
    lose_a_path,
    nothing,
    run_clean,
    two_links,
)
from suites.selftest.iscsi import set_recovery_tmo

# The clock runs 10 % slow for 5 s, then 10 % fast for 5 s. Source: adjtimex(2), struct timex.
_SLOW_CLOCK = """
import ctypes, struct, time
libc = ctypes.CDLL(None, use_errno=True)

def tick(microseconds):
    timex = ctypes.create_string_buffer(256)
    struct.pack_into("I", timex, 0, 0x4000)
    struct.pack_into("q", timex, 88, microseconds)
    if libc.adjtimex(timex) < 0:
        raise OSError(ctypes.get_errno())

for microseconds in (9000, 11000, 10000):
    tick(microseconds)
    time.sleep(5 if microseconds != 10000 else 0)
"""


def test_a_surviving_path_that_pauses_again_and_again(testbed: Testbed, seed: int) -> None:
    """Each pause is within the slack; together they are an outage."""
    _, last = two_links(testbed)
    portal = testbed.topology.path(testbed.topology.over_link(last)[0]).portal
    dropped: list[int] = []
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        during=lambda: dropped.append(silence(testbed, portal, pause_s=0.7, times=6)),
    )
    assert dropped[0] > 0
    assert_detected(
        "the surviving path pauses again and again in an outage",
        measured,
        by="stalls together within budget",
        fails=" beyond the budget of ",
    )


def test_some_io_hangs_while_other_io_goes_on(testbed: Testbed, seed: int) -> None:
    """One path is silent for less than it takes to be given up; the others go on."""
    path = testbed.topology.paths[0]
    writes = testbed.layout.random_writes(1800, seed)
    dropped: list[int] = []
    measured = run_clean(
        testbed,
        seed,
        jobs=[writes],
        amid=lambda: dropped.append(silence(testbed, path.portal, pause_s=1.4)),
    )
    assert dropped[0] > 0
    assert_detected(
        "some I/O hangs for 1.4 s while other I/O goes on",
        measured,
        by="no long I/O",
        fails="an I/O took ",
    )


def test_some_io_hangs_beyond_the_budget_while_other_io_goes_on(
    testbed: Testbed, seed: int
) -> None:
    """What was on the lost path waits for 8 s, and no stream does: no stall shows it.

    They are not paced, and fio does not read them back: before it pauses or reads, fio waits for
    all of them (io_u_quiesce() in its io_u.c). So only half of the depth is stuck.
    """
    writes = replace(testbed.layout.random_writes(1800, seed), verified=False, iops=None, depth=16)
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        jobs=[writes],
        before=lambda: set_recovery_tmo(testbed, 6),
    )
    stall = worst_stall(measured)
    assert stall is not None
    assert stall.seconds < 4
    assert_detected(
        "some I/O hangs for 8 s in an outage while other I/O goes on",
        measured,
        by="longest I/O within budget",
        fails=" beyond the budget of ",
    )


@pytest.mark.parametrize(
    ("plant", "by", "at_once"),
    [
        ("the surviving path is slow from the fault until healing", "throughput held", True),
        ("the surviving path is slow for a while", "latency held", False),
    ],
)
def test_a_surviving_path_that_is_slow_for_a_while(
    testbed: Testbed, seed: int, plant: str, by: str, at_once: bool
) -> None:
    """I/O goes on, but not as it should; what a paced load makes up for later is no loss.

    Where it begins in the middle of an outage, the rates differ too much to prove a throughput.
    """
    _, last = two_links(testbed)
    machine, nics = testbed.machine(Role.INITIATOR), [testbed.nic(Role.INITIATOR, last)]
    passed: list[int] = []

    def slow() -> None:
        hamper(machine, nics, "netem delay 200ms")

    def slow_amid() -> None:
        if not at_once:
            slow()
        time.sleep(9)

    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        before=slow if at_once else nothing,
        during=slow_amid,
        after=lambda: passed.append(relieve(machine, nics)),
        during_s=0,
    )
    assert passed[0] > 0
    assert_detected(plant, measured, by=by, fails=" before the fault")


def test_a_connection_that_breaks_without_a_fault(testbed: Testbed, seed: int) -> None:
    """The target resets it, and the session is back before its path is given up."""
    portal = testbed.topology.paths[-1].portal
    refused: list[int] = []
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        after=lambda: refused.append(reset(testbed, portal)),
    )
    assert refused[0] > 0
    assert_detected(
        "a connection that breaks without a fault, and is back at once",
        measured,
        by="no trouble without a fault",
        fails="conn error",
    )


def test_two_sessions_over_one_wire_for_a_while(testbed: Testbed, seed: int) -> None:
    """Their addresses stay right: routes at both ends lead the packets of one over the other."""
    first, last = two_links(testbed)
    topology = testbed.topology
    path = topology.path(topology.over_link(last)[0])
    near, far = topology.link(first).address, topology.path(topology.over_link(first)[0]).portal
    there, back = path.portal.portal.address, path.link.address
    if there.version != 4:
        pytest.skip("needs IPv4")
    ways = (
        (Role.INITIATOR, there, f"via {far.portal.address} src {back}"),
        (Role.TARGET, back, f"via {near} src {there}"),
    )
    taken: list[str] = []

    def share() -> None:
        for role, to, way in ways:
            nic = testbed.nic(role, first)
            add = f"ip route add {to}/32 {way} dev {nic}; ip route get {to}"
            taken.append(testbed.machine(role).sh(add).stdout)
        time.sleep(7)
        for role, to, way in ways:
            nic = testbed.nic(role, first)
            testbed.machine(role).sh(f"ip route delete {to}/32 {way} dev {nic}")

    measured = run_clean(testbed, seed, amid=share)
    for (role, *_), route in zip(ways, taken, strict=True):
        assert f" dev {testbed.nic(role, first)} " in route
    assert_detected(
        "two sessions over one wire for a while, with the right addresses",
        measured,
        by="sessions as planned",
        fails="the packets took another way",
    )


def test_a_clock_that_runs_slow_and_makes_up_for_it(testbed: Testbed, seed: int) -> None:
    """It is right before and afterwards; in between it is half a second behind."""
    initiator = testbed.machine(Role.INITIATOR)
    argv = ["python3", "-I", "-S", "-c", _SLOW_CLOCK]
    assert_detected(
        "a clock that runs slow for five seconds, and makes up for it",
        run_clean(testbed, seed, amid=lambda: initiator.run(argv, timeout_s=60)),
        by="evidence sound",
        unknown="the initiator's monotonic clock moved by",
    )
