"""What must never be in a kernel log: defects of the kernel itself, hung tasks, want of memory.

A line of these is about the machine, and not about a device.

Sources: check_hung_task() in kernel/hung_task.c, __warn() in kernel/panic.c, die() in
arch/*/kernel; of Linux 5.10, 6.1, 6.12 and 7.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.measurements import KernelLog, KernelMessage
from harness.timeline import Event, Happened

_TROUBLE = re.compile(
    r"(?:^BUG:|^UBSAN:|kernel BUG at|^WARNING:|^Oops\b|^general protection fault|Kernel panic"
    r"|: [0-9a-f]{4,16} \[#\d+\]"  # die() in arch/*/kernel, whatever its reason
    r"|possible circular locking|possible recursive locking"
    r"|Unable to handle kernel)"
)
# A processor that did nothing else for 10 to 20 s: kernel/watchdog.c, kernel/rcu/tree_stall.h.
_LOCKUP = re.compile(r"soft lockup|hard LOCKUP|rcu.*detected (?:expedited )?stall")
# Of a process, whosever it is.
_DISTRESS = re.compile(
    r"(?:INFO: task .* blocked (?:in I/O wait )?for more than"
    r"|^Out of memory\b)"  # of the machine, not of a control group
)


# Of a disk of the target's own, or of the file system on it: what initiators get from it is wrong
# or missing. On an initiator the paths' disks have such errors whenever a path dies.
#
# Sources: blk_errors in block/blk-core.c, of which those that ask for a new attempt, or for what a
# disk cannot do (discard), are left out; fs/ext4/inode.c; fs/jbd2/commit.c and journal.c.
_DISK = re.compile(
    r"(?:\bI/?O errors?\b|critical (?:medium|target|nexus|space allocation) error"
    r"|(?:protection|timeout|device offline|recoverable transport|reservation conflict) error, dev"
    r"|EXT4-fs error|Data will be lost|Aborting journal on device"
    r"|XFS \(\S+\): .*(?:[Cc]orruption|error)|BTRFS (?:error|critical)"
    r"|Remounting filesystem read-only)"
)


def is_disk_error(message: KernelMessage) -> bool:
    """Whether the record shows an error of a disk or of the file system on it."""
    return bool(_DISK.search(message.text))


def is_trouble(message: KernelMessage) -> bool:
    """Whether the record shows a defect of the kernel itself, a hung task, or want of memory."""
    defect = _TROUBLE.search(message.text)
    return bool(defect) or is_lockup(message) or is_distress(message)


def is_lockup(message: KernelMessage) -> bool:
    """Whether the record is about a processor that was busy, or was not run, for many seconds."""
    return bool(_LOCKUP.search(message.text))


def is_distress(message: KernelMessage) -> bool:
    """Whether the record is about a process that hung, or was killed for want of memory.

    On a machine where others run programs it may be one of theirs.
    """
    return bool(_DISTRESS.search(message.text))


def troubles(log: KernelLog, uncertainty_ns: int) -> Iterator[Event]:
    """An event for each record of a log that shows trouble."""
    source = f"{log.machine} kernel"
    for message in filter(is_trouble, log.messages):
        what = Happened.KERNEL_TROUBLE
        yield Event(message.at_ns, what, source, message.text, uncertainty_ns)
