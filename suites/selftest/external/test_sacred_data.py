"""A LUN that somebody may need is left as it is, byte by byte: on real paths, with real tools."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import PreflightFailed
from harness.preflight import Answer, Asked, claim, marker
from harness.target import LioTarget
from harness.target.base import backing_file
from harness.target.lio import serving
from harness.testbed import Testbed
from harness.topology import Role
from harness.units import MIB

BACKING_FILE = backing_file("lun0")
SIZE = 256 * MIB  # of the LUN, so that reading it in full takes seconds


@pytest.fixture
def blank(testbed: Testbed) -> Testbed:
    """The target serves a small LUN without any data."""
    testbed.broken = "its LUN was replaced on purpose"
    initiator, target = testbed.initiator, testbed.target
    assert isinstance(target, LioTarget)
    initiator.log_out()
    target.machine.sh(f"targetctl clear; rm {BACKING_FILE}; truncate -s {SIZE} {BACKING_FILE}")
    wanted = serving(testbed.config.target, testbed.topology)
    (group,) = wanted.groups
    units = tuple(replace(unit, size=SIZE) for unit in group.units)
    target.serve(replace(wanted, groups=(replace(group, units=units),)))
    initiator.log_in()
    initiator.wait_for_maps()
    return testbed


def claimed(testbed: Testbed, *, erase: bool = False) -> Answer:
    wwid = testbed.map.attachment.wwid
    asked = Asked(wwid, wwid if erase else None, testbed.config.workload.region)
    return claim(testbed.map.attachment, asked)


def digest(testbed: Testbed) -> str:
    """Of what the target has, flushed before."""
    testbed.machine(Role.INITIATOR).sh(f"blockdev --flushbufs {testbed.map.device}")
    return testbed.machine(Role.TARGET).sh(f"head -c {SIZE} {BACKING_FILE} | sha256sum").stdout


def test_a_blank_lun_is_read_in_full_and_marked(blank: Testbed) -> None:
    """Every path shows the mark afterwards, and the next claim needs no more."""
    assert claimed(blank) is Answer.BLANK
    assert claimed(blank) is Answer.MARKED
    head = blank.machine(Role.TARGET).run(["head", "-c", str(marker.SIZE), BACKING_FILE])
    assert marker.unpack(head.stdout_bytes).wwid == blank.map.attachment.wwid


def test_a_file_system_is_refused_and_byte_identical_afterwards(blank: Testbed) -> None:
    """Until its owner gives it up."""
    machine, device = blank.machine(Role.INITIATOR), blank.map.device
    machine.sh(f"mkfs.ext4 -q -L payroll {device}; mount {device} /mnt; cp /etc/passwd /mnt")
    with pytest.raises(PreflightFailed, match="cannot be opened exclusively"):
        claimed(blank, erase=True)
    machine.sh("umount /mnt")
    before = digest(blank)
    with pytest.raises(PreflightFailed, match="ext4 labelled 'payroll' at offset 1080"):
        claimed(blank)
    assert digest(blank) == before
    assert claimed(blank, erase=True) is Answer.ERASE
    assert claimed(blank) is Answer.MARKED


def test_a_lun_that_somebody_registered_with_is_refused(blank: Testbed) -> None:
    """It is refused although it is blank and may be erased: another host may use it."""
    path = blank.map.paths[0].disk
    initiator = blank.machine(Role.INITIATOR)
    initiator.sh(f"sg_persist --out --register --param-sark=0xabc /dev/{path}")
    before = digest(blank)
    with pytest.raises(PreflightFailed, match="has persistent reservation keys: 0xabc"):
        claimed(blank, erase=True)
    assert digest(blank) == before
    initiator.sh(f"sg_persist --out --clear --param-rk=0xabc /dev/{path}")
    assert claimed(blank) is Answer.BLANK


def test_a_single_byte_is_data(blank: Testbed) -> None:
    """At the very end, where no tool looks for a signature."""
    script = f"printf x | dd of={blank.map.device} bs=1 seek={SIZE - 1} conv=fsync"
    blank.machine(Role.INITIATOR).sh(script)
    before = digest(blank)
    with pytest.raises(PreflightFailed, match=f"a byte at offset {SIZE - 1} is not zero"):
        claimed(blank)
    assert digest(blank) == before
