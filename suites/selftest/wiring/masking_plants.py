"""What a target shows to the wrong initiator, planted in LIO's configfs on a live testbed.

Source: Documentation/target/ of the kernel; a mapped LUN is a folder with a link to the LUN.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.testbed import Testbed
from harness.topology import Role

SECOND = "second"
_RESCAN = "iscsiadm --mode session --rescan\nudevadm settle\n"


def _acl(testbed: Testbed) -> str:
    topology = testbed.topology
    group = f"/sys/kernel/config/target/iscsi/{topology.target_iqn}/tpgt_1"
    return f"group={group}\nacl=$group/acls/{topology.machine(SECOND).iqn}\n"


@contextmanager
def unmasked(testbed: Testbed) -> Iterator[None]:
    """The second initiator sees the LUN that is the first one's alone."""
    target, second = testbed.machine(Role.TARGET), testbed.machine(SECOND)
    hidden = testbed.target.wwid_of(testbed.topology.luns[0])
    target.sh(f"{_acl(testbed)}mkdir $acl/lun_0\nln -s $group/lun/lun_0 $acl/lun_0/shown")
    try:
        second.sh(_RESCAN)
        yield
    finally:
        target.sh(f"{_acl(testbed)}rm $acl/lun_0/shown\nrmdir $acl/lun_0")
        second.sh(
            "for disk in /sys/block/sd*; do\n"
            f'  if grep -q "{hidden[1:]}" $disk/device/wwid; then echo 1 >$disk/device/delete; fi\n'
            "done\nudevadm settle\n"
        )


@contextmanager
def unprotected(testbed: Testbed) -> Iterator[None]:
    """The second initiator may write to the LUN that it is to read only."""
    target, second = testbed.machine(Role.TARGET), testbed.machine(SECOND)
    (lun,) = (one.lun for one in testbed.topology.maps if one.read_only)

    def protect(value: int) -> None:
        target.sh(f"{_acl(testbed)}echo {value} >$acl/lun_{lun.number}/write_protect")
        # The kernel asks for write protection again when it looks at a disk anew.
        second.sh("for disk in /sys/block/sd*; do echo 1 >$disk/device/rescan; done")

    protect(0)
    try:
        yield
    finally:
        protect(1)
