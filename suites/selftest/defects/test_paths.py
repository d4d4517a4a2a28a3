"""Planted defects of sessions and paths, and of faults that are not what they claim to be."""

from __future__ import annotations

import time

from harness.config.callouts import CalloutConfig
from harness.faults import Callout, LinkDown
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.packets import silence
from suites.selftest.defects.plants import (
    NoEffect,
    SparedDaemon,
    StillLink,
    WrongNic,
    WrongQueue,
    assert_detected,
    first_link_down,
    first_portal_silent,
    lose_a_path,
    run_clean,
    two_links,
)
from suites.selftest.detour import lead_astray, log_out
from suites.selftest.iscsi import set_recovery_tmo


def test_a_path_that_was_never_logged_in(testbed: Testbed, seed: int) -> None:
    """One session is missing before the first I/O."""
    testbed.broken = "one session is missing on purpose"
    path = testbed.topology.paths[-1]
    log_out(testbed, path)
    assert path.name not in {one.path for one in testbed.session_settings()}
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
    settings = {one.path: one for one in testbed.session_settings()}
    assert settings[path.name].through == link.name
    assert_detected(
        "a path through the link of another one",
        run_clean(testbed, seed),
        by="sessions as planned",
        fails=f"the session of path {path.name} runs through link {link.name} instead of link ",
    )


def test_recovery_tmo_left_at_120(testbed: Testbed, seed: int) -> None:
    """multipathd's fast_io_fail_tmo did not reach the sessions."""
    set_recovery_tmo(testbed, 120)
    measured = lose_a_path(testbed, seed, first_link_down(testbed), lost=0, during_s=4)
    assert_detected(
        "recovery_tmo left at 120",
        measured,
        by="sessions as planned",
        fails="is 120 s instead of ",
    )


def test_a_timeout_raised_after_it_was_read(testbed: Testbed, seed: int) -> None:
    """The stall exceeds what the settings, as they were, allow."""
    measured = lose_a_path(
        testbed,
        seed,
        first_link_down(testbed),
        before=lambda: set_recovery_tmo(testbed, 20),
    )
    assert_detected(
        "recovery_tmo raised after it was read",
        measured,
        by="stall within budget",
        fails="session recovery took",
    )


def test_a_timeout_that_changes_while_nothing_happens(testbed: Testbed, seed: int) -> None:
    """No path is lost, so no figure is wrong; but no budget would have held for all of the test."""
    assert_detected(
        "recovery_tmo changed while I/O went on",
        run_clean(testbed, seed, amid=lambda: set_recovery_tmo(testbed, 2)),
        by="sessions as planned",
        unknown="no budget holds for the whole test: recovery_tmo of the session of path ",
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


def test_a_callout_that_says_done_and_does_nothing(testbed: Testbed, seed: int) -> None:
    """Each of its commands succeeds, those that confirm, too."""
    own = CalloutConfig(
        name="says-done",
        paths=(testbed.topology.paths[0].name,),
        inject=("echo", "done"),
        confirm=("true",),
        heal=("echo", "done"),
        confirm_healed=("true",),
    )
    assert_detected(
        "a callout says done and does nothing",
        lose_a_path(testbed, seed, Callout(own), lost=0),
        by="fault took effect",
        unknown="during Callout(says-done): no effect",
    )


def test_a_callout_whose_count_stands_still(testbed: Testbed, seed: int) -> None:
    """It is to make a path worse, which goes on as ever."""
    own = CalloutConfig(
        name="says-slow",
        paths=(testbed.topology.paths[0].name,),
        effect="degraded",
        inject=("echo", "done"),
        count=("echo", "7"),
        heal=("echo", "done"),
    )
    assert_detected(
        "a callout whose count does not grow",
        lose_a_path(testbed, seed, Callout(own), lost=0, during_s=8),
        by="fault took effect",
        unknown="Callout(says-slow) did nothing that counts while it lasted",
    )


def test_a_link_that_does_not_flap(testbed: Testbed, seed: int) -> None:
    """Its paths go on, as they would anyway."""
    fault = StillLink(testbed.topology.links[0].name)
    assert_detected(
        "a link that should flap does not",
        lose_a_path(testbed, seed, fault, lost=0, during_s=8),
        by="fault took effect",
        unknown="did nothing that counts while it lasted",
    )


def test_frames_that_are_lost_on_the_wrong_link(testbed: Testbed, seed: int) -> None:
    """The queue is there and loses frames, and the path that it should hit is as good as ever."""
    first, last = two_links(testbed)
    fault = WrongQueue(last, claimed=first)
    assert_detected(
        "frames are lost on the wrong link",
        lose_a_path(testbed, seed, fault, lost=0, during_s=8),
        by="fault took effect",
        unknown="did nothing that counts while it lasted",
    )


def test_a_daemon_that_is_not_killed(testbed: Testbed, seed: int) -> None:
    """It hits no path, so that all goes on as well as if it had been."""
    assert_detected(
        "a daemon that should be killed runs on",
        lose_a_path(testbed, seed, SparedDaemon(), lost=0, during_s=8),
        by="fault took effect",
        unknown=f"the path daemon of the {Role.INITIATOR} runs, ",
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
        fails=f"failed without a fault there: {named}",
    )


def test_a_path_that_flaps_by_itself(testbed: Testbed, seed: int) -> None:
    """Its portal is silent for 5 s in a run without any fault."""
    path = testbed.topology.paths[0]
    dropped: list[int] = []
    measured = run_clean(
        testbed,
        seed,
        amid=lambda: dropped.append(silence(testbed, path.portal, pause_s=5)),
    )
    assert dropped[0] > 0
    assert_detected(
        "a path that is lost for a moment, and back by itself",
        measured,
        by="no unexpected path loss",
        fails="failed without a fault there: ",
    )
