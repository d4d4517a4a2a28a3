"""Planted damage that is mended, or overwritten, long before the I/O is over."""

from __future__ import annotations

import sys

import pytest

from harness.analysis.write_proof import prove_writes
from harness.checks import Verdict, data_intact, judge
from harness.measurements import Measurements
from harness.testbed import Testbed
from suites.selftest.defects.damage import damage, damage_again_and_again
from suites.selftest.defects.plants import (
    AFTERWARDS_S,
    assert_detected,
    first_portal_silent,
    forget_detection,
    lose_a_path,
    note_detection,
    run_clean,
)

_WHILE = "while the I/O went on"


def test_writes_of_the_last_second_before_a_fault_are_lost(testbed: Testbed, seed: int) -> None:
    """They are written again after 13 s: in the end all is right."""
    area = testbed.layout.write_area
    lost: list[int] = []
    measured = lose_a_path(
        testbed,
        seed,
        first_portal_silent(testbed),
        before=lambda: lost.extend(damage(testbed, "lose", area, wait_s=1)),
        during_s=AFTERWARDS_S,
        after_s=3,
    )
    assert len(lost) >= 10  # the plant had an effect
    assert_detected(
        "writes of the last second before a fault lost, and overwritten later",
        measured,
        by="data intact",
        fails=_WHILE,
    )
    assert _wrong_at_the_end(measured) == 0


@pytest.mark.parametrize(
    ("kind", "plant"),
    [
        ("lose", "acknowledged writes lost in an outage, and overwritten"),
        ("replay", "old writes replayed in an outage, and overwritten"),
    ],
)
def test_hot_blocks_that_are_damaged_in_an_outage(
    testbed: Testbed, seed: int, kind: str, plant: str
) -> None:
    """They are written again within four seconds, over the path that is left."""
    area = testbed.layout.hot_area
    hit: list[int] = []
    measured = lose_a_path(
        testbed,
        seed,
        first_portal_silent(testbed),
        during=lambda: hit.extend(damage(testbed, kind, area, wait_s=1, blocks=8)),
    )
    assert len(hit) >= 4
    assert_detected(plant, measured, by="data intact", fails=_WHILE)
    assert _wrong_at_the_end(measured) == 0


def test_stale_content_for_two_seconds(testbed: Testbed, seed: int) -> None:
    """Some blocks are what they were one write ago, and right again after two seconds."""
    area = testbed.layout.write_area
    hit: list[int] = []
    measured = run_clean(
        testbed,
        seed,
        amid=lambda: hit.extend(
            damage(testbed, "replay", area, wait_s=1, mend_s=2, blocks=4),
        ),
    )
    assert len(hit) >= 2
    assert_detected(
        "stale content of four blocks for two seconds", measured, by="data intact", fails=_WHILE
    )
    assert _wrong_at_the_end(measured) == 0


@pytest.mark.parametrize(
    ("kind", "plant", "found"),
    [
        ("tear", "one block torn for two seconds", "torn"),
        ("blank", "one block blank for two seconds", "blank"),
        ("noise", "one block full of noise for two seconds", "foreign"),
    ],
)
def test_one_block_that_is_wrong_for_two_seconds(
    testbed: Testbed, seed: int, kind: str, plant: str, found: str
) -> None:
    """It was written a moment ago, and fio does not come to it again for ten seconds."""
    area = testbed.layout.write_area
    hit: list[int] = []
    measured = run_clean(
        testbed,
        seed,
        amid=lambda: hit.extend(damage(testbed, kind, area, wait_s=1, mend_s=2, blocks=1)),
    )
    (at,) = hit
    assert_detected(plant, measured, by="data intact", fails=f"{found} at offset {at} ")
    assert _wrong_at_the_end(measured) == 0


def test_two_blocks_in_each_others_place_for_three_seconds(testbed: Testbed, seed: int) -> None:
    """Each says where it belongs."""
    area = testbed.layout.write_area
    hit: list[int] = []
    measured = run_clean(
        testbed, seed, amid=lambda: hit.extend(damage(testbed, "swap", area, mend_s=3))
    )
    assert len(hit) == 2
    assert_detected(
        "two blocks in each other's place for three seconds",
        measured,
        by="data intact",
        fails="misdirected at offset ",
    )
    assert _wrong_at_the_end(measured) == 0


def test_an_old_write_that_is_replayed_and_overwritten(testbed: Testbed, seed: int) -> None:
    """To hot blocks, which are written again within four seconds."""
    area = testbed.layout.hot_area
    hit: list[int] = []
    measured = run_clean(
        testbed,
        seed,
        amid=lambda: hit.extend(damage(testbed, "replay", area, wait_s=1, blocks=8)),
    )
    assert len(hit) >= 2
    assert_detected(
        "old writes replayed to hot blocks, and overwritten",
        measured,
        by="data intact",
        fails=_WHILE,
    )
    assert _wrong_at_the_end(measured) == 0


@pytest.mark.parametrize(
    ("kind", "plant", "lasts_s"),
    [
        ("stale", "one block stale for 2 s, 20 times", 2.0),
        ("swap", "two blocks in each other's place for 2 s, 10 times", 2.0),
        ("lose", "one acknowledged write lost, 20 times", 1.0),
    ],
)
def test_how_surely_short_damage_is_found(
    testbed: Testbed, seed: int, kind: str, plant: str, lasts_s: float
) -> None:
    """As often as `pathproof bench power` says. Looks are for blocks, so each plant has its own."""
    area = testbed.layout.write_area
    planted: list[int] = []
    measured = run_clean(
        testbed,
        seed,
        amid=lambda: planted.extend(
            damage_again_and_again(testbed, kind, area, count=20, lasts_s=lasts_s, seed=seed)
        ),
    )
    forget_detection(plant)
    proof = prove_writes(measured)
    assert proof is not None
    found = {finding.offset for finding in proof.wrong} & set(planted)
    effective = set(planted)
    sys.stdout.write(f"\n{len(found)} of {len(effective)} found\n")
    assert len(effective) >= 12
    assert len(found) >= 0.95 * len(effective) - 1
    (finding,) = judge(measured, data_intact()).findings
    assert finding.verdict is Verdict.FAIL
    assert _WHILE in finding.message or kind == "lose"  # the last to be lost may still be so
    message = f"{len(found)} of {len(effective)} found: {finding.message}"
    note_detection(
        plant, by="data intact", verdict=Verdict.FAIL, says=finding.message, message=message
    )


def _wrong_at_the_end(measured: Measurements) -> int:
    """Without the looks in between nothing would be seen."""
    assert measured.read_back is not None
    return len(measured.read_back.findings)
