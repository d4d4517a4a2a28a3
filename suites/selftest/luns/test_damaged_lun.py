"""One LUN of several is damaged: its verdict fails, and no other does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from harness.checks import Verdict, judge_each, together, undisturbed
from harness.errors import CutShort
from harness.target.base import backing_file
from harness.target.lio import LioTarget, Serving, every_target
from harness.testbed import Testbed
from harness.topology import Lun, Role
from harness.units import KIB

_SECTOR = 512
_COPIED = 64 * KIB
_LOOP = "/dev/loop0"
_MAPPED = "planted"


def test_writes_that_are_lost_below_one_lun(testbed: Testbed, seed: int) -> None:
    """From some moment on the target keeps what is written there elsewhere, and then forgets it.

    fio reads back what it wrote and is content: only the read-back shows that it is not there.
    """
    if len(testbed.maps) < 2:
        pytest.skip("needs several LUNs: --topology luns")
    lun = testbed.topology.luns[1]
    _serve_from_the_device_mapper(testbed, lun)
    everything = testbed.topology.luns
    area = testbed.layout.write_area
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=4)
        _map(testbed, lun, at=lun.size - area.size, copy=True)
        io.run_for(seconds=4)
        io.before_read_back(lambda: _map(testbed, lun, at=area.offset, copy=False))
    found = judge_each(io.measurements_by_lun, *undisturbed(testbed.config.budget.slack_s))
    for finding in together(found.values()).findings:
        print(finding)  # noqa: T201  # for people
    failed = [
        (finding.lun, finding.check)
        for finding in together(found.values()).findings
        if finding.verdict is Verdict.FAIL
    ]
    assert failed == [(lun.name, "data intact")]
    (damage,) = [f for f in found[lun.name].findings if f.check == "data intact"]
    assert " lost" in damage.message
    verdicts = {name: judgement.verdict for name, judgement in found.items()}
    assert verdicts == {one.name: Verdict.PASS for one in everything} | {lun.name: Verdict.FAIL}


def _serve_from_the_device_mapper(testbed: Testbed, lun: Lun) -> None:
    """Put the device mapper between LIO and the file of one LUN."""
    testbed.broken = "one of its LUNs was damaged on purpose"
    target = testbed.target
    if not isinstance(target, LioTarget):
        pytest.skip("the plant is for a target of kind 'lio'")
    sectors = lun.size // _SECTOR
    testbed.machine(Role.TARGET).sh(
        f"modprobe loop; modprobe dm-mod; losetup {_LOOP} {backing_file(lun.name)}\n"
        f"echo 0 {sectors} linear {_LOOP} 0 | dmsetup create {_MAPPED}"
    )
    target.serve(*(_mapped(one, lun) for one in every_target(target.config, testbed.topology)))
    paths = len(testbed.topology.paths)
    with suppress(CutShort):  # one may be back before the other is lost
        testbed.wait_for_paths(active=0, failed=paths, timeout_s=10)
    testbed.preflight()
    testbed.wait_for_paths(active=paths)


def _mapped(wanted: Serving, lun: Lun) -> Serving:
    """The same with the device mapper's device for that LUN, if the target has it."""
    groups = tuple(
        replace(
            group,
            units=tuple(
                replace(unit, plugin="block", path=f"/dev/mapper/{_MAPPED}")
                if unit.name == lun.name
                else unit
                for unit in group.units
            ),
        )
        for group in wanted.groups
    )
    return replace(wanted, groups=groups)


def _map(testbed: Testbed, lun: Lun, *, at: int, copy: bool) -> None:
    """Have the area of the writes be at another offset of the file, with a `copy` of what is there.

    I/O waits meanwhile.
    """
    area = testbed.layout.write_area
    first, count, place = (n // _SECTOR for n in (area.offset, area.size, at))
    after = first + count
    table = (
        f"0 {first} linear {_LOOP} 0\n"
        f"{first} {count} linear {_LOOP} {place}\n"
        f"{after} {lun.size // _SECTOR - after} linear {_LOOP} {after}\n"
    )
    copying = (
        f"dd if={_LOOP} of={_LOOP} bs={_COPIED} iflag=direct oflag=direct "
        f"skip={area.offset // _COPIED} seek={at // _COPIED} count={area.size // _COPIED}"
        if copy
        else ":"
    )
    testbed.machine(Role.TARGET).sh(
        f"dmsetup suspend --noflush {_MAPPED}; {copying}\n"
        f"dmsetup reload {_MAPPED}; dmsetup resume {_MAPPED}",
        stdin=table.encode(),
    )
