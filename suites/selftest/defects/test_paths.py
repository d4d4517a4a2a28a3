"""Planted defects of sessions and paths."""

from __future__ import annotations

import time

import pytest

from harness.config.negotiation import Negotiation
from harness.faults import LinkDown, SilentDrop
from harness.initiator import iscsiadm
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.plants import (
    NoEffect,
    WrongNic,
    assert_detected,
    lose_a_path,
    run_clean,
)

SET_RECOVERY_TMO = "for s in /sys/class/iscsi_session/*/recovery_tmo; do echo {} > $s; done"


def test_a_path_that_was_never_logged_in(testbed: Testbed, seed: int) -> None:
    """One session is missing before the first I/O."""
    testbed.broken = "one session is missing on purpose"
    fabric = testbed.topology.fabrics[1]
    argv = iscsiadm.logout_argv(testbed.topology.target_iqn)
    testbed.machine(Role.INITIATOR).run([*argv, "--portal", str(fabric.portal)])
    assert_detected(
        "one path never logged in",
        run_clean(testbed, seed),
        by="sessions as planned",
        fails="fabric b has 0 sessions",
    )


def test_a_second_session_through_the_same_fabric(testbed: Testbed, seed: int) -> None:
    """The route to the second portal leads over the first cable."""
    testbed.broken = "both sessions run through one fabric on purpose"
    first, second = testbed.topology.fabrics
    machine = testbed.machine(Role.INITIATOR)
    nic = testbed.nic(Role.INITIATOR, first.name)
    iqn, portal = testbed.topology.target_iqn, str(second.portal)
    machine.run([*iscsiadm.logout_argv(iqn), "--portal", portal])
    machine.sh(f"ip route add {second.portal.address}/32 dev {nic} src {first.initiator}")
    machine.run(iscsiadm.login_argv(iqn, second.portal))
    testbed.map.wait_for_paths(active=2)
    assert_detected(
        "the second session through the same fabric",
        run_clean(testbed, seed),
        by="sessions as planned",
        fails="the session to the portal on fabric b runs through fabric a",
    )


def test_recovery_tmo_left_at_120(testbed: Testbed, seed: int) -> None:
    """multipathd's fast_io_fail_tmo did not reach the sessions."""
    machine = testbed.machine(Role.INITIATOR)
    machine.sh(SET_RECOVERY_TMO.format(120))
    measured = lose_a_path(testbed, seed, LinkDown("a"), lost=0, during_s=4)
    assert_detected(
        "recovery_tmo left at 120",
        measured,
        by="sessions as planned",
        fails="is 120 s instead of ",
    )


def test_a_timeout_raised_after_it_was_read(testbed: Testbed, seed: int) -> None:
    """The stall exceeds what the settings, as they were, allow."""
    machine = testbed.machine(Role.INITIATOR)
    measured = lose_a_path(
        testbed,
        seed,
        LinkDown("a"),
        before=lambda: machine.sh(SET_RECOVERY_TMO.format(20)),
    )
    assert_detected(
        "recovery_tmo raised after it was read",
        measured,
        by="stall within budget",
        fails="session recovery took",
    )


def test_a_path_that_comes_back_with_other_values(testbed: Testbed, seed: int) -> None:
    """The target agrees to less at the second login, as a controller with other settings would."""
    testbed.broken = "the target's MaxBurstLength was changed on purpose"
    testbed.initiator.negotiation = Negotiation(demanded={"MaxBurstLength": "262144"})
    target = testbed.machine(Role.TARGET)
    file = f"/sys/kernel/config/target/iscsi/{testbed.topology.target_iqn}/tpgt_1/param"
    measured = lose_a_path(
        testbed,
        seed,
        LinkDown("a"),
        during=lambda: target.sh(f"echo 65536 >{file}/MaxBurstLength"),
    )
    assert_detected(
        "a path that negotiates less when it comes back",
        measured,
        by="sessions as planned",
        fails="once I/O was over, MaxBurstLength of the session on fabric a is 65536 instead of",
    )


def test_a_fault_that_hits_the_wrong_nic(testbed: Testbed, seed: int) -> None:
    """It was to hit a, and b is lost: the storage is not to blame for that."""
    assert_detected(
        "the fault hits the wrong NIC",
        lose_a_path(testbed, seed, WrongNic("b", claimed="a")),
        by="fault took effect",
        unknown="sda (fabric a) still carried",
    )


def test_a_fault_without_effect(testbed: Testbed, seed: int) -> None:
    """Nothing was tested, whatever else looks fine."""
    assert_detected(
        "the fault hits nothing",
        lose_a_path(testbed, seed, NoEffect("a"), lost=0),
        by="fault took effect",
        unknown="during NoEffect(a): no effect",
    )


def test_a_fault_that_loses_its_effect_for_a_while(testbed: Testbed, seed: int) -> None:
    """The path comes back, carries I/O and is lost once more, all in one outage."""
    fault = SilentDrop("a")

    def relent() -> None:
        fault.heal(testbed)
        testbed.map.wait_for_paths(active=2)
        time.sleep(1)
        fault.inject(testbed)
        testbed.map.wait_for_paths(active=1, failed=1)

    assert_detected(
        "the fault loses its effect for a while",
        lose_a_path(testbed, seed, fault, during=relent),
        by="fault took effect",
        unknown="sda (fabric a) still carried",
    )


def test_a_path_that_is_lost_without_a_fault(testbed: Testbed, seed: int) -> None:
    """The other cable is loose for a moment, after all was healed."""

    def shake() -> None:
        testbed.set_link(Role.INITIATOR, "b", up=False)
        try:
            testbed.map.wait_for_paths(active=1, failed=1)
        finally:
            testbed.set_link(Role.INITIATOR, "b", up=True)
        testbed.map.wait_for_paths(active=2)

    assert_detected(
        "a path lost without a fault",
        lose_a_path(testbed, seed, LinkDown("a"), after=shake),
        by="no unexpected path loss",
        fails="given up without a fault there: sdb",
    )


@pytest.mark.parametrize(
    ("plant", "end", "undo"),
    [
        (
            "multipathd hangs during the outage",
            "pkill -STOP -x multipathd",
            "pkill -CONT -x multipathd",
        ),
        (
            "multipathd dead during the outage",
            "systemctl stop multipathd.socket; pkill -KILL -x multipathd",
            "systemctl start multipathd.socket multipathd.service",
        ),
    ],
)
def test_multipathd_does_nothing_in_the_outage(
    testbed: Testbed, seed: int, plant: str, end: str, undo: str
) -> None:
    """The kernel fails the path by itself; nobody gives it back."""
    machine = testbed.machine(Role.INITIATOR)
    try:
        measured = lose_a_path(
            testbed, seed, LinkDown("a"), before=lambda: machine.sh(end), back_within_s=15
        )
    finally:
        machine.sh(undo, timeout_s=60)
    assert_detected(
        plant,
        measured,
        by="paths restored",
        fails="not active at the end: sda",
    )


def test_a_path_that_is_not_reinstated(testbed: Testbed, seed: int) -> None:
    """While it is dead it leaves the map, and healing does not bring it back there."""
    initiator, path = testbed.initiator, testbed.map.paths[0].name
    try:
        measured = lose_a_path(
            testbed,
            seed,
            LinkDown("a"),
            during=lambda: initiator.take_path_away(path),
            back_within_s=10,
        )
    finally:
        initiator.give_path_back(path)
    assert_detected(
        "a path that is not reinstated",
        measured,
        by="paths restored",
        fails=f"not active at the end: {path}",
    )


def test_paths_that_come_back_narrow(testbed: Testbed, seed: int) -> None:
    """Both carry less than the load asks for."""
    machine = testbed.machine(Role.INITIATOR)
    nics = [testbed.nic(Role.INITIATOR, fabric) for fabric in testbed.fabrics()]
    limit = "root tbf rate 2mbit burst 16kb latency 1s"
    narrow = "; ".join(f"tc qdisc replace dev {nic} {limit}" for nic in nics)
    wide = "; ".join(f"tc qdisc delete dev {nic} root" for nic in nics)
    measured = lose_a_path(
        testbed,
        seed,
        LinkDown("a"),
        after=lambda: machine.sh(narrow),
        uproot=lambda: machine.sh(wide),
    )
    assert_detected(
        "all paths reinstated but narrow",
        measured,
        by="throughput recovered",
        fails="of the throughput before the fault, at least",
    )


@pytest.mark.parametrize(
    ("plant", "slow", "by", "says"),
    [
        (
            "a path reinstated but ten times slower",
            "a",
            "load shared again",
            "of the load after the fault",
        ),
        (
            "all paths reinstated but ten times slower",
            "ab",
            "latency recovered",
            "times the latency before the fault",
        ),
    ],
)
def test_paths_that_come_back_ten_times_slower(
    testbed: Testbed, seed: int, plant: str, slow: str, by: str, says: str
) -> None:
    """Of two paths: if only one is slow, the load goes on over the other at its pace."""
    machine = testbed.machine(Role.INITIATOR)
    nics = [testbed.nic(Role.INITIATOR, fabric) for fabric in slow]
    delay = "; ".join(f"tc qdisc replace dev {nic} root netem delay 50ms" for nic in nics)
    no_delay = "; ".join(f"tc qdisc delete dev {nic} root" for nic in nics)
    measured = lose_a_path(
        testbed,
        seed,
        LinkDown("a"),
        after=lambda: machine.sh(delay),
        uproot=lambda: machine.sh(no_delay),
    )
    assert_detected(
        plant,
        measured,
        by=by,
        fails=says,
    )
