"""Planted damage where no test writes: blocks that were filled once, and canaries."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.testbed import Testbed
from harness.workload import Area
from harness.workload.kept import canaries
from suites.selftest.defects.damage import damage
from suites.selftest.defects.plants import assert_detected, run_clean


def filled(testbed: Testbed) -> Area:
    """What fio reads and verifies, each block once in a test at most."""
    return testbed.layout.read_area


def canary(testbed: Testbed) -> Area:
    """The first place of those that nobody reads until I/O is over."""
    size, region = testbed.topology.luns[0].size, testbed.config.workload.region
    return canaries(size, region)[0]


@pytest.mark.parametrize(
    ("plant", "where"),
    [
        ("a filled block changed while I/O goes on", filled),
        ("a canary changed while I/O goes on", canary),
    ],
    ids=["filled", "canary"],
)
def test_a_cold_block_that_changes(
    testbed: Testbed, seed: int, plant: str, where: Callable[[Testbed], Area]
) -> None:
    """It is full of noise, and stays so."""
    testbed.broken = "what nobody writes to was changed on purpose"
    hit: list[int] = []
    measured = run_clean(
        testbed,
        seed,
        amid=lambda: hit.extend(damage(testbed, "noise", where(testbed), blocks=1, cold=True)),
    )
    (at,) = hit
    assert_detected(
        plant,
        measured,
        by="data intact",
        fails=f"changed at offset {at} (map): nothing was written there, and it is foreign",
    )


def test_the_filled_area_is_blank_for_two_seconds(testbed: Testbed, seed: int) -> None:
    """All is right again long before the end, so only fio's own reads can tell."""
    hit: list[int] = []
    measured = run_clean(
        testbed,
        seed,
        amid=lambda: hit.extend(damage(testbed, "blank", filled(testbed), mend_s=2, cold=True)),
    )
    assert len(hit) == filled(testbed).size // testbed.config.workload.block_size
    assert_detected(
        "the filled area blank for two seconds",
        measured,
        by="no I/O errors",
        fails="fio's verification failed",
    )
    assert measured.read_back is not None
    assert measured.read_back.changed == ()


def test_the_filled_area_is_blanked_after_the_last_io(testbed: Testbed, seed: int) -> None:
    """What only reads use; fio has ended, and no read comes any more."""
    testbed.broken = "its filled area was blanked on purpose"
    hit: list[int] = []
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=3)
        io.before_read_back(
            lambda: hit.extend(damage(testbed, "blank", filled(testbed), cold=True))
        )
    assert len(hit) == filled(testbed).size // testbed.config.workload.block_size
    at = filled(testbed).offset
    assert_detected(
        "the filled area blanked after the last I/O",
        io.measurements,
        by="data intact",
        fails=f"changed at offset {at} (map): nothing was written there, and it is blank",
    )
