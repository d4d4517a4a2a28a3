"""Planted defects of time, wires and clocks that are gone again long before the I/O is over."""

from __future__ import annotations

import time

import pytest

from harness.faults.silent_drop import render_rules
from harness.testbed import Testbed
from harness.topology import Role, TargetPortal
from suites.selftest.defects.plants import (
    assert_detected,
    first_link_down,
    lose_a_path,
    run_clean,
    two_links,
)

_AFTERWARDS_S = 12  # of I/O, at least 10 s after all was right again
_TABLE = "planted"

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


def silence(portal: TargetPortal, times: int, pause_s: float) -> str:
    """A script for the target: it hears nothing at a portal, so often and for so long each time."""
    rules = render_rules(_TABLE, portal.portal, Role.TARGET)
    return (
        f"for n in $(seq {times}); do\n"
        f"nft --file - <<'END'\n{rules}END\n"
        f"sleep {pause_s}; nft delete table inet {_TABLE}; sleep 0.8\n"
        "done"
    )


def on_target(testbed: Testbed, script: str) -> None:
    testbed.machine(Role.TARGET).sh(script, timeout_s=60)


def test_a_surviving_path_that_pauses_again_and_again(testbed: Testbed, seed: int) -> None:
    """Each pause is within the slack; together they are an outage."""
    _, last = two_links(testbed)
    portal = testbed.topology.path(testbed.topology.over_link(last)[0]).portal
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        during=lambda: on_target(testbed, silence(portal, times=6, pause_s=0.6)),
        after_s=_AFTERWARDS_S,
    )
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
    measured = run_clean(
        testbed,
        seed,
        jobs=[writes],
        amid=lambda: on_target(testbed, silence(path.portal, times=1, pause_s=1.4)),
        after_s=_AFTERWARDS_S,
    )
    assert_detected(
        "some I/O hangs for 1.4 s while other I/O goes on",
        measured,
        by="no long I/O",
        fails="an I/O took ",
    )


@pytest.mark.parametrize(
    ("plant", "limit", "by"),
    [
        (
            "the surviving path is narrow for a while",
            "tbf rate 1mbit burst 16kb latency 1s",
            "throughput held",
        ),
        ("the surviving path is slow for a while", "netem delay 200ms", "latency held"),
    ],
)
def test_a_surviving_path_that_is_poor_for_a_while(
    testbed: Testbed, seed: int, plant: str, limit: str, by: str
) -> None:
    """I/O goes on, but not as it should; what a paced load makes up for later is no loss."""
    _, last = two_links(testbed)
    machine, nic = testbed.machine(Role.INITIATOR), testbed.nic(Role.INITIATOR, last)

    def hamper() -> None:
        machine.sh(f"tc qdisc replace dev {nic} root {limit}")
        time.sleep(9)

    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        during=hamper,
        after=lambda: machine.sh(f"tc qdisc delete dev {nic} root"),
        during_s=0,
        after_s=_AFTERWARDS_S,
    )
    assert_detected(plant, measured, by=by, fails=" before the fault")


def test_a_connection_that_breaks_without_a_fault(testbed: Testbed, seed: int) -> None:
    """The target resets it, and the session is back before its path is given up."""
    portal = testbed.topology.paths[-1].portal.portal
    family = "ip6" if portal.address.version == 6 else "ip"
    reset = f"{family} daddr {portal.address} tcp dport {portal.port} reject with tcp reset"
    script = (
        f"nft --file - <<'END'\nadd table inet {_TABLE}\n"
        f"add chain inet {_TABLE} inbound {{ type filter hook input priority -300; }}\n"
        f"add rule inet {_TABLE} inbound {reset}\nEND\n"
        f"sleep 0.1; nft delete table inet {_TABLE}"
    )
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        after=lambda: on_target(testbed, script),
        after_s=_AFTERWARDS_S,
    )
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
        (Role.INITIATOR, f"{there}/32 via {far.portal.address} src {back}"),
        (Role.TARGET, f"{back}/32 via {near} src {there}"),
    )

    def share() -> None:
        for role, way in ways:
            testbed.machine(role).sh(f"ip route add {way} dev {testbed.nic(role, first)}")
        time.sleep(7)
        for role, way in ways:
            testbed.machine(role).sh(f"ip route delete {way} dev {testbed.nic(role, first)}")

    assert_detected(
        "two sessions over one wire for a while, with the right addresses",
        run_clean(testbed, seed, amid=share, after_s=_AFTERWARDS_S),
        by="sessions as planned",
        fails="the packets took another way",
    )


def test_a_clock_that_runs_slow_and_makes_up_for_it(testbed: Testbed, seed: int) -> None:
    """It is right before and afterwards; in between it is half a second behind."""
    initiator = testbed.machine(Role.INITIATOR)
    argv = ["python3", "-I", "-S", "-c", _SLOW_CLOCK]
    assert_detected(
        "a clock that runs slow for five seconds, and makes up for it",
        run_clean(
            testbed, seed, amid=lambda: initiator.run(argv, timeout_s=60), after_s=_AFTERWARDS_S
        ),
        by="evidence sound",
        unknown="the initiator's monotonic clock moved by",
    )
