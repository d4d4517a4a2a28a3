"""Planted damage that is mended, or overwritten, long before the I/O is over."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from harness.analysis.write_proof import prove_writes
from harness.checks import Verdict, data_intact, judge
from harness.measurements import Measurements
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.mended import damage, damage_again_and_again
from suites.selftest.defects.plants import (
    assert_detected,
    first_portal_silent,
    forget_detection,
    lose_a_path,
    note_detection,
)

_AFTERWARDS_S = 12  # of I/O, at least 10 s after all was right again
_WHILE = "while the I/O went on"


def test_writes_of_the_last_second_before_a_fault_are_lost(testbed: Testbed, seed: int) -> None:
    """They are written again after 13 s: in the end all is right."""
    area = testbed.layout.write_area
    lost: list[int] = []
    measured = lose_a_path(
        testbed,
        seed,
        first_portal_silent(testbed),
        before=lambda: lost.append(damage(testbed, "lose", area, wait_s=1)),
        during_s=_AFTERWARDS_S,
    )
    assert lost[0] >= 10  # the plant had an effect
    assert_detected(
        "writes of the last second before a fault lost, and overwritten later",
        measured,
        by="data intact",
        fails=_WHILE,
    )
    assert _wrong_at_the_end(measured) == 0


def test_stale_content_for_two_seconds(testbed: Testbed, seed: int) -> None:
    """Some blocks are what they were one write ago, and right again after two seconds."""
    area = testbed.layout.write_area
    measured = _go_on(
        testbed, seed, lambda: damage(testbed, "replay", area, wait_s=1, mend_s=2, blocks=4)
    )
    assert_detected(
        "stale content of four blocks for two seconds", measured, by="data intact", fails=_WHILE
    )
    assert _wrong_at_the_end(measured) == 0


def test_two_blocks_in_each_others_place_for_three_seconds(testbed: Testbed, seed: int) -> None:
    """Each says where it belongs."""
    area = testbed.layout.write_area
    measured = _go_on(testbed, seed, lambda: damage(testbed, "swap", area, mend_s=3))
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
    measured = _go_on(testbed, seed, lambda: damage(testbed, "replay", area, wait_s=1, blocks=8))
    assert_detected(
        "old writes replayed to hot blocks, and overwritten",
        measured,
        by="data intact",
        fails=_WHILE,
    )
    assert _wrong_at_the_end(measured) == 0


def test_the_filled_area_is_blanked_after_the_last_io(testbed: Testbed, seed: int) -> None:
    """What only reads use; fio has ended, and no read comes any more."""
    area = testbed.layout.read_area
    testbed.broken = "its filled area was blanked on purpose"
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=3)
        io.before_read_back(lambda: blanked(testbed))
    assert_detected(
        "the filled area blanked after the last I/O",
        io.measurements,
        by="data intact",
        fails=f"changed at offset {area.offset} (map): nothing was written there, and it is blank",
    )


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
    planted: list[int] = []

    def plant_all() -> int:
        area = testbed.layout.write_area
        planted.extend(
            damage_again_and_again(testbed, kind, area, count=20, lasts_s=lasts_s, seed=seed)
        )
        return len(set(planted))

    measured = _go_on(testbed, seed, plant_all)
    proof = prove_writes(measured)
    assert proof is not None
    found = {finding.offset for finding in proof.wrong} & set(planted)
    effective = set(planted)
    sys.stdout.write(f"\n{len(found)} of {len(effective)} found\n")
    assert len(effective) >= 12
    assert len(found) >= 0.95 * len(effective) - 1
    forget_detection(plant)
    (finding,) = judge(measured, data_intact()).findings
    assert finding.verdict is Verdict.FAIL
    assert _WHILE in finding.message or kind == "lose"  # the last to be lost may still be so
    message = f"{len(found)} of {len(effective)} found: {finding.message}"
    note_detection(
        plant, by="data intact", verdict=Verdict.FAIL, says=finding.message, message=message
    )


def blanked(testbed: Testbed) -> None:
    """Through the map, past fio."""
    area = testbed.layout.read_area
    zeros = f"dd if=/dev/zero of={testbed.map.device} oflag=direct,seek_bytes bs=64k"
    script = f"{zeros} seek={area.offset} count={area.size // 65536}"
    testbed.machine(Role.INITIATOR).sh(script)


def _go_on(testbed: Testbed, seed: int, plant: Callable[[], int]) -> Measurements:
    """I/O without a fault, the plant in its midst, and I/O for long enough afterwards."""
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=3)
        assert plant() >= 2  # it had an effect
        io.run_for(seconds=_AFTERWARDS_S)
    return io.measurements


def _wrong_at_the_end(measured: Measurements) -> int:
    """Without the looks in between nothing would be seen."""
    assert measured.read_back is not None
    return len(measured.read_back.findings)
