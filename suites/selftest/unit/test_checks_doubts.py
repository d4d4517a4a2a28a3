"""When a failure proves nothing: the lab may have caused it, or it is of something else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.checks import Verdict, data_intact
from harness.checks.excuses import unless_the_lab_did_it
from harness.checks.outcome import failed, unknown
from harness.measurements import MAP, BlockFinding, Damage, ReadBack, UnplannedDisk
from suites.selftest.unit.judged import found, good
from suites.selftest.unit.synthetic_failover import END, START

STRAY = UnplannedDisk("8:48", "sdd", START, END)


@pytest.mark.parametrize(
    ("by_path", "verdict"),
    [
        ({}, Verdict.UNKNOWN),
        ({"by_path": False}, Verdict.UNKNOWN),
        ({"by_path": True}, Verdict.FAIL),
    ],
)
def test_a_disk_that_was_not_planned_excuses_a_failure_unless_each_path_is_judged(
    by_path: dict[str, bool], verdict: Verdict
) -> None:
    with_stray = replace(good(), unplanned_disks=(STRAY,))
    assert unless_the_lab_did_it(failed("too slow"), with_stray, **by_path).verdict is verdict


@pytest.mark.parametrize(
    ("place", "damage", "verdict"),
    [
        (MAP, Damage.FOREIGN, Verdict.UNKNOWN),
        (MAP, Damage.TORN, Verdict.FAIL),
        ("a", Damage.FOREIGN, Verdict.FAIL),
    ],
)
def test_verification_was_off_only_if_every_block_is_foreign_through_the_map(
    place: str, damage: Damage, verdict: Verdict
) -> None:
    """No block was verified; but only without their headers are they as fio writes them then."""
    findings = tuple(BlockFinding(4096 * n, place, damage) for n in range(2))
    back = ReadBack(2, 0, {MAP: 2, "a": 2, "b": 2}, findings=findings)
    assert found(data_intact(), replace(good(), read_back=back)).verdict is verdict


def test_what_is_unknown_may_be_known_when_measured_again_unless_it_is_said() -> None:
    assert not unknown("the host was busy").same_again
    assert unknown("verification is off", same_again=True).same_again
