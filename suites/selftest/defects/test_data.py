"""Planted damage to data: what was acknowledged is not there, or another disk answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.machine.nic_script import render_script
from harness.measurements import Measurements
from harness.target.lio import SAVED
from harness.testbed import Testbed
from harness.topology import Role
from harness.workload import Job
from suites.selftest.defects.damage import damage
from suites.selftest.defects.plants import (
    AFTERWARDS_S,
    assert_detected,
    first_portal_silent,
    lose_a_path,
    run_clean,
)
from suites.selftest.defects.served import (
    BACKING_FILE,
    OTHER,
    OTHER_FILE,
    planned,
    second_disk,
    serve,
)

_START = "/usr/lib/pathproof/planted"
_WRITES_S = 7.0


def test_one_block_corrupted_during_the_outage(testbed: Testbed, seed: int) -> None:
    """The target alters a block in its backing file, after the last write to it."""
    hit: list[int] = []
    measured = lose_a_path(
        testbed,
        seed,
        first_portal_silent(testbed),
        jobs=_writes_end_early(testbed, seed),
        during=lambda: hit.extend(
            damage(testbed, "tear", testbed.layout.write_area, blocks=1, cold=True)
        ),
        during_s=6,
    )
    (torn,) = hit
    assert_detected(
        "one block silently corrupted during the outage",
        measured,
        by="data intact",
        fails=f"torn at offset {torn}",
    )


def test_acknowledged_blocks_that_are_blank(testbed: Testbed, seed: int) -> None:
    """A hundred blocks are blanked behind fio's back after its last write."""
    area = testbed.layout.write_area
    measured, hit = _after_the_last_write(
        testbed, seed, lambda: damage(testbed, "blank", area, blocks=100, cold=True)
    )
    assert len(hit) == 100
    assert_detected(
        "acknowledged blocks blanked after the last write",
        measured,
        by="data intact",
        fails=" blank): blank at offset ",
    )


def test_a_write_that_went_to_another_block(testbed: Testbed, seed: int) -> None:
    """One block is what was written to another."""
    area = testbed.layout.write_area
    measured, hit = _after_the_last_write(testbed, seed, lambda: damage(testbed, "misdirect", area))
    (other,) = hit
    assert_detected(
        "a write that went to another block",
        measured,
        by="data intact",
        fails=f"(1 misdirected): misdirected at offset {other} ",
    )


def test_writes_that_arrive_a_second_time(testbed: Testbed, seed: int) -> None:
    """Blocks are put back to what they were some seconds ago, when newer ones had been written."""
    area = testbed.layout.hot_area
    measured, hit = _after_the_last_write(
        testbed, seed, lambda: damage(testbed, "replay", area, wait_s=_WRITES_S), already_s=1
    )
    assert len(hit) >= 10
    assert_detected(
        "writes that arrive a second time, after newer ones",
        measured,
        by="data intact",
        fails=" lost",
    )


def _after_the_last_write(
    testbed: Testbed, seed: int, plant: Callable[[], list[int]], already_s: float = _WRITES_S
) -> tuple[Measurements, list[int]]:
    """Damage after the last write, while reads go on; what was measured, and where it was.

    The plant goes in that long after I/O has begun.
    """
    hit: list[int] = []
    with testbed.io(_writes_end_early(testbed, seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=already_s)
        hit += plant()
        io.run_for(seconds=AFTERWARDS_S)
    return io.measurements, hit


def _writes_end_early(testbed: Testbed, seed: int) -> list[Job]:
    """The usual jobs; nothing mends what is damaged after `_WRITES_S` of writes."""
    return [
        replace(job, seconds=_WRITES_S) if job.kind.writes else job
        for job in testbed.layout.mixed(seed)
    ]


def test_acknowledged_writes_lost_with_a_volatile_cache(testbed: Testbed, seed: int) -> None:
    """The target acknowledges from memory, saves some of it, and is reset after the last write."""
    cached = planned(testbed)
    cached["storage_objects"][0]["write_back"] = True
    serve(testbed, cached)
    _come_back_after_a_reset(testbed)
    writes, *_ = testbed.layout.mixed(seed)
    with testbed.io([writes]) as io:
        io.wait_until_running()
        io.run_for(seconds=2)
        testbed.machine(Role.TARGET).run(["sync", BACKING_FILE])
        io.run_for(seconds=3)
        io.before_read_back(lambda: _reset(testbed))
    assert_detected(
        "acknowledged writes lost at a reset of the target, whose cache is volatile",
        io.measurements,
        by="data intact",
        fails=" blank): blank at offset ",
    )
    back = io.measurements.read_back
    assert back is not None
    assert len({finding.offset for finding in back.findings}) < back.acknowledged  # some were saved


def test_two_disks_behind_one_wwid(testbed: Testbed, seed: int) -> None:
    """All portals but the first serve another file under the same serial."""
    if len(testbed.topology.portals) < 2:
        pytest.skip("needs two portals")
    configuration = second_disk(testbed)
    configuration["targets"][0]["tpgs"][1]["luns"] = [
        {"index": 0, "storage_object": f"/backstores/fileio/{OTHER}"}
    ]
    serve(testbed, configuration)
    measured = run_clean(testbed, seed)
    assert_detected(
        "two disks behind one WWID, one per path",
        measured,
        by="data intact",
        fails="blank at offset ",
    )
    used = testbed.machine(Role.TARGET).run(["stat", "--format=%b", OTHER_FILE]).stdout
    assert int(used) > 0  # some of the writes went there
    assert measured.read_back is not None
    places = {finding.place for finding in measured.read_back.findings}
    assert places & {path.path for path in testbed.map.paths}  # a path has not what the map has


def _come_back_after_a_reset(testbed: Testbed) -> None:
    """Have the target configure its NICs and LIO by itself when it boots."""
    nics = render_script(testbed.topology.nics(Role.TARGET), addressed=True)
    start = f"{nics}\ntargetctl restore {SAVED}\n"
    unit = (
        "[Unit]\nAfter=local-fs.target systemd-udev-settle.service pathproof-network.service\n"
        f"[Service]\nType=oneshot\nExecStart=/bin/sh {_START}\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    target = testbed.machine(Role.TARGET)
    target.write_files({_START: start, "/etc/systemd/system/planted.service": unit})
    target.sh("systemctl enable planted.service; sync", timeout_s=60)


def _reset(testbed: Testbed) -> None:
    """Reset the target, and wait until all paths have been lost and are back."""
    everything = len(testbed.topology.paths)
    testbed.domain(Role.TARGET).reset()
    testbed.map.wait_for_paths(active=0, failed=everything)
    testbed.map.wait_for_paths(active=everything)
