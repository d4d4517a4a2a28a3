"""Planted defects of how paths come back: not at all, too late, or not as they were."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from harness.checks import Verdict, evidence_sound, judge
from harness.config.negotiation import Negotiation
from harness.faults.portal_filter import parse_counted
from harness.machine import Process
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.packets import UNDO, hamper, relieve, silence_rules
from suites.selftest.defects.plants import (
    assert_detected,
    first_link_down,
    first_portal_silent,
    lose_a_path,
)
from suites.selftest.iscsi import iscsi_initiator

_SILENT_S = 20  # after healing: twice what the settings allow for the way back is 12 s, or 18 s


def test_a_path_that_comes_back_with_other_values(testbed: Testbed, seed: int) -> None:
    """The target agrees to less at the second login, as a controller with other settings would."""
    path = testbed.topology.paths[0].name
    testbed.broken = "the target's MaxBurstLength was changed on purpose"
    demanded = {"MaxBurstLength": "262144"}
    iscsi_initiator(testbed).negotiation = Negotiation(demanded=demanded)
    target = testbed.machine(Role.TARGET)
    groups = f"/sys/kernel/config/target/iscsi/{testbed.topology.target_iqn}/tpgt_*"
    less = f"for file in {groups}/param/MaxBurstLength; do echo 65536 >$file; cat $file; done"
    said: list[str] = []
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        during=lambda: said.append(target.sh(less).stdout),
    )
    assert set(said[0].split()) == {"65536"}
    assert_detected(
        "a path that negotiates less when it comes back",
        measured,
        by="sessions as planned",
        fails=f"once I/O was over, MaxBurstLength of the session of path {path} is 65536 instead",
    )


@pytest.mark.parametrize(
    ("plant", "end", "states", "undo"),
    [
        (
            "multipathd hangs during the outage",
            "pkill -STOP -x multipathd",
            "T",
            "pkill -CONT -x multipathd",
        ),
        (
            "multipathd dead during the outage",
            "systemctl stop multipathd.socket; pkill -KILL -x multipathd",
            "",
            "systemctl start multipathd.socket multipathd.service",
        ),
    ],
)
def test_multipathd_does_nothing_in_the_outage(
    testbed: Testbed, seed: int, plant: str, end: str, states: str, undo: str
) -> None:
    """The kernel fails the path by itself; it is not given back."""
    machine, fault = testbed.machine(Role.INITIATOR), first_link_down(testbed)
    look = "ps -C multipathd -o stat= || :"
    said: list[str] = []
    try:
        measured = lose_a_path(
            testbed,
            seed,
            fault,
            before=lambda: machine.sh(end),
            after=lambda: said.append(machine.sh(look).stdout),
            back_within_s=15,
        )
    finally:
        machine.sh(undo, timeout_s=60)
    assert said[0].strip()[:1] == states
    assert_detected(
        plant,
        measured,
        by="paths restored",
        fails=f"not active at the end: {', '.join(sorted(fault.hits(testbed.topology)))}",
    )
    (sound,) = judge(measured, evidence_sound()).findings
    assert sound.verdict is Verdict.PASS, sound.message  # asking what hangs disturbed nothing


def test_a_path_that_is_not_reinstated(testbed: Testbed, seed: int) -> None:
    """While it is dead it leaves the map, and healing does not bring it back there."""
    attachment, path = testbed.map.attachment, testbed.map.paths[0]
    fault = first_link_down(testbed)
    everything, lost = len(testbed.topology.paths), len(fault.hits(testbed.topology))

    def take_away() -> None:
        attachment.take_path_away(path.disk)
        testbed.map.wait_for_paths(active=everything - lost, failed=lost - 1)

    try:
        measured = lose_a_path(testbed, seed, fault, during=take_away, back_within_s=10)
    finally:
        attachment.give_path_back(path.disk)
    assert_detected(
        "a path that is not reinstated",
        measured,
        by="paths restored",
        fails=f"not active at the end: {path.path}",
    )


def test_a_path_that_comes_back_too_late(testbed: Testbed, seed: int) -> None:
    """Once the fault is healed its portal stays silent for 20 s: until then nothing may be lost."""
    portal = testbed.topology.paths[0].portal
    target = testbed.machine(Role.TARGET)
    late: list[Process] = []
    dropped: list[int] = []
    with ExitStack() as stack:

        def stay_silent() -> None:
            target.sh(silence_rules(portal))
            undo = ["sh", "-euc", f"sleep {_SILENT_S}; {UNDO}"]
            late.append(stack.enter_context(target.background(undo)))

        measured = lose_a_path(
            testbed,
            seed,
            first_portal_silent(testbed),
            during=stay_silent,
            after=lambda: dropped.append(parse_counted(late[0].wait(60).stdout)),
        )
    assert dropped[0] > 0
    assert_detected(
        "a path that comes back too late",
        measured,
        by="redundancy back in time",
        fails=" beyond twice the budget of ",
    )


def test_paths_that_come_back_narrow(testbed: Testbed, seed: int) -> None:
    """All together carry less than the load asks for."""
    machine, nics = testbed.machine(Role.INITIATOR), testbed.nics(Role.INITIATOR).values()
    limit = "tbf rate 500kbit burst 16kb latency 1s"
    passed: list[int] = []
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        after=lambda: hamper(machine, nics, limit),
        uproot=lambda: passed.append(relieve(machine, nics)),
    )
    assert passed[0] > 0
    assert_detected(
        "all paths reinstated but narrow",
        measured,
        by="throughput recovered",
        fails="of the throughput before the fault, at least",
    )


@pytest.mark.parametrize(
    ("plant", "every", "delay_ms", "by", "says"),
    [
        (
            "a path reinstated but ten times slower",
            False,
            300,
            "load shared again",
            "of the load after the fault",
        ),
        (
            "all paths reinstated but ten times slower",
            True,
            150,
            "latency recovered",
            "times the latency before the fault",
        ),
        (
            "a path reinstated but slower by its own figures",
            False,
            50,
            "each path as good as before",
            "times as long as before the fault",
        ),
    ],
    ids=["share", "map", "path"],
)
def test_paths_that_come_back_slower(
    testbed: Testbed, seed: int, plant: str, every: bool, delay_ms: int, by: str, says: str
) -> None:
    """If only those of one link are slow, the load goes on over the others at its pace."""
    machine, links = testbed.machine(Role.INITIATOR), testbed.topology.links
    nics = [testbed.nic(Role.INITIATOR, one.name) for one in links[: None if every else 1]]
    passed: list[int] = []
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        before_s=6,  # each path's figures are compared in stretches of half a second
        after=lambda: hamper(machine, nics, f"netem delay {delay_ms}ms"),
        uproot=lambda: passed.append(relieve(machine, nics)),
    )
    assert passed[0] > 0
    assert_detected(
        plant,
        measured,
        by=by,
        fails=says,
    )
