"""Planted defects of sessions and paths."""

from __future__ import annotations

import time

import pytest

from harness.config.negotiation import Negotiation
from harness.faults import LinkDown
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.plants import (
    NoEffect,
    WrongNic,
    assert_detected,
    first_link_down,
    first_portal_silent,
    lose_a_path,
    run_clean,
    two_links,
)
from suites.selftest.detour import lead_astray, log_out
from suites.selftest.iscsi import iscsi_initiator

SET_RECOVERY_TMO = "for s in /sys/class/iscsi_session/*/recovery_tmo; do echo {} > $s; done"


def test_a_path_that_was_never_logged_in(testbed: Testbed, seed: int) -> None:
    """One session is missing before the first I/O."""
    testbed.broken = "one session is missing on purpose"
    path = testbed.topology.paths[-1]
    log_out(testbed, path)
    assert_detected(
        "one path never logged in",
        run_clean(testbed, seed),
        by="sessions as planned",
        fails=f"path {path.name} has 0 sessions",
    )


def test_a_path_that_runs_through_the_link_of_another_one(testbed: Testbed, seed: int) -> None:
    """The route to the last portal leads over the first cable."""
    path, link = lead_astray(testbed)
    testbed.map.wait_for_paths(active=len(testbed.topology.paths))
    assert_detected(
        "a path through the link of another one",
        run_clean(testbed, seed),
        by="sessions as planned",
        fails=f"the session of path {path.name} runs through link {link.name} instead of link ",
    )


def test_recovery_tmo_left_at_120(testbed: Testbed, seed: int) -> None:
    """multipathd's fast_io_fail_tmo did not reach the sessions."""
    machine = testbed.machine(Role.INITIATOR)
    machine.sh(SET_RECOVERY_TMO.format(120))
    measured = lose_a_path(testbed, seed, first_link_down(testbed), lost=0, during_s=4)
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
        first_link_down(testbed),
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
    path = testbed.topology.paths[0].name
    testbed.broken = "the target's MaxBurstLength was changed on purpose"
    demanded = {"MaxBurstLength": "262144"}
    iscsi_initiator(testbed).negotiation = Negotiation(demanded=demanded)
    target = testbed.machine(Role.TARGET)
    groups = f"/sys/kernel/config/target/iscsi/{testbed.topology.target_iqn}/tpgt_*"
    less = f"for file in {groups}/param/MaxBurstLength; do echo 65536 >$file; done"
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        during=lambda: target.sh(less),
    )
    assert_detected(
        "a path that negotiates less when it comes back",
        measured,
        by="sessions as planned",
        fails=f"once I/O was over, MaxBurstLength of the session of path {path} is 65536 instead",
    )


def test_a_fault_that_hits_the_wrong_nic(testbed: Testbed, seed: int) -> None:
    """It was to hit the first link, and the last is lost: the storage is not to blame for that."""
    first, last = two_links(testbed)
    fault = WrongNic(last, claimed=first)
    lost = len(testbed.topology.over_link(last))
    assert_detected(
        "the fault hits the wrong NIC",
        lose_a_path(testbed, seed, fault, lost=lost),
        by="fault took effect",
        unknown=f"path {testbed.map.paths[0]} still carried",
    )


def test_a_fault_without_effect(testbed: Testbed, seed: int) -> None:
    """Nothing was tested, whatever else looks fine."""
    path = testbed.topology.paths[0].name
    assert_detected(
        "the fault hits nothing",
        lose_a_path(testbed, seed, NoEffect(path), lost=0),
        by="fault took effect",
        unknown=f"during NoEffect({path}): no effect",
    )


def test_a_fault_that_loses_its_effect_for_a_while(testbed: Testbed, seed: int) -> None:
    """The path comes back, carries I/O and is lost once more, all in one outage."""
    fault = first_portal_silent(testbed)
    everything, lost = len(testbed.topology.paths), len(fault.hits(testbed.topology))

    def relent() -> None:
        fault.heal(testbed)
        testbed.map.wait_for_paths(active=everything)
        time.sleep(1)
        fault.inject(testbed)
        testbed.map.wait_for_paths(active=everything - lost, failed=lost)

    assert_detected(
        "the fault loses its effect for a while",
        lose_a_path(testbed, seed, fault, during=relent),
        by="fault took effect",
        unknown=f"path {testbed.map.paths[0]} still carried",
    )


def test_a_path_that_is_lost_without_a_fault(testbed: Testbed, seed: int) -> None:
    """Another cable is loose for a moment, after all was healed."""
    first, loose = two_links(testbed)
    everything, lost = len(testbed.topology.paths), testbed.topology.over_link(loose)
    # Of several paths any may be named first, and all of them begin with the network's name.
    named = lost[0] if len(lost) == 1 else testbed.topology.link(loose).network

    def shake() -> None:
        testbed.set_link(Role.INITIATOR, loose, up=False)
        try:
            testbed.map.wait_for_paths(active=everything - len(lost), failed=len(lost))
        finally:
            testbed.set_link(Role.INITIATOR, loose, up=True)
        testbed.map.wait_for_paths(active=everything)

    assert_detected(
        "a path lost without a fault",
        lose_a_path(testbed, seed, LinkDown(first), after=shake),
        by="no unexpected path loss",
        fails=f"given up without a fault there: {named}",
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
    """The kernel fails the path by itself; it is not given back."""
    machine, fault = testbed.machine(Role.INITIATOR), first_link_down(testbed)
    try:
        measured = lose_a_path(
            testbed, seed, fault, before=lambda: machine.sh(end), back_within_s=15
        )
    finally:
        machine.sh(undo, timeout_s=60)
    assert_detected(
        plant,
        measured,
        by="paths restored",
        fails=f"not active at the end: {', '.join(sorted(fault.hits(testbed.topology)))}",
    )


def test_a_path_that_is_not_reinstated(testbed: Testbed, seed: int) -> None:
    """While it is dead it leaves the map, and healing does not bring it back there."""
    attachment, path = testbed.map.attachment, testbed.map.paths[0]
    try:
        measured = lose_a_path(
            testbed,
            seed,
            first_link_down(testbed),
            during=lambda: attachment.take_path_away(path.disk),
            back_within_s=10,
        )
    finally:
        attachment.give_path_back(path.disk)
    assert_detected(
        "a path that is not reinstated",
        measured,
        by="paths restored",
        fails=f"not active at the end: {path.path}",
    )


def test_paths_that_come_back_narrow(testbed: Testbed, seed: int) -> None:
    """All together carry less than the load asks for."""
    machine, nics = testbed.machine(Role.INITIATOR), testbed.nics(Role.INITIATOR).values()
    limit = "root tbf rate 2mbit burst 16kb latency 1s"
    narrow = "; ".join(f"tc qdisc replace dev {nic} {limit}" for nic in nics)
    wide = "; ".join(f"tc qdisc delete dev {nic} root" for nic in nics)
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
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
    ("plant", "every", "by", "says"),
    [
        (
            "a path reinstated but ten times slower",
            False,
            "load shared again",
            "of the load after the fault",
        ),
        (
            "all paths reinstated but ten times slower",
            True,
            "latency recovered",
            "times the latency before the fault",
        ),
    ],
)
def test_paths_that_come_back_ten_times_slower(
    testbed: Testbed, seed: int, plant: str, every: bool, by: str, says: str
) -> None:
    """If only those of one link are slow, the load goes on over the others at its pace."""
    machine, links = testbed.machine(Role.INITIATOR), testbed.topology.links
    nics = [testbed.nic(Role.INITIATOR, one.name) for one in links[: None if every else 1]]
    delay = "; ".join(f"tc qdisc replace dev {nic} root netem delay 50ms" for nic in nics)
    no_delay = "; ".join(f"tc qdisc delete dev {nic} root" for nic in nics)
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        after=lambda: machine.sh(delay),
        uproot=lambda: machine.sh(no_delay),
    )
    assert_detected(
        plant,
        measured,
        by=by,
        fails=says,
    )
