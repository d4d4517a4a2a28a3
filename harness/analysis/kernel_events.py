"""What a kernel log says of the LUN's paths, sessions and map, and what must never be in it.

A line about a session, disk, map or file system that is not the LUN's says nothing. One that is
about no device at all, such as a hung task, is about the machine.

Sources: iscsi_conn_error_event() and session_recovery_timedout() in
drivers/scsi/scsi_transport_iscsi.c, iscsi_check_transport_timeouts() in libiscsi.c,
fail_path() and reinstate_path() in drivers/md/dm-mpath.c, blk_print_req_error() in block/blk-mq.c,
buffer_io_error() in fs/buffer.c, check_hung_task() in kernel/hung_task.c, __warn() in
kernel/panic.c; of 5.10, 6.1, 6.12 and 7.2. Real lines (6.1; kernels up to 5.7 leave out the map's
number, but for those of RHEL 8):

    connection1:0: ping timeout of 1 secs expired, recv timeout 1, last rx 4294917296, …
    connection1:0: detected conn error (1022)
    session1: session recovery timed out after 1 secs
    device-mapper: multipath: 253:0: Failing path 8:16.
    device-mapper: multipath: 253:0: Reinstating path 8:16.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.analysis.lun_devices import LunDevices
from harness.measurements import KernelLog, KernelMessage
from harness.timeline import Event, Happened

_SESSION_STORY = (
    (
        re.compile(r"\bconnection(?P<session>\d+):\d+: (?:ping timeout|detected conn error)"),
        Happened.CONNECTION_ERROR,
    ),
    (
        re.compile(r"\bsession(?P<session>\d+): session recovery timed out"),
        Happened.RECOVERY_TIMED_OUT,
    ),
)
_PATH_STORY = {"Failing": Happened.PATH_FAILED, "Reinstating": Happened.PATH_REINSTATED}
_PATH = re.compile(
    r"multipath: (?:(?P<map>\d+:\d+): )?(?P<what>Failing|Reinstating) path (?P<disk>\d+:\d+)"
)
# Errors on sdX are normal while a path is dead; on the map they are what multipath must prevent.
_MAP_ERRORS = tuple(
    re.compile(pattern.replace("DM", r"dm-(?P<minor>\d+)"), re.IGNORECASE)
    for pattern in (
        r"\berror,? (?:on )?dev(?:ice)? DM\b",  # the block layer, and buffers
        r"^EXT[234]-fs error \(device DM\)",
        r"^(?:EXT[234]-fs|XFS)(?: warning)? \((?:device )?DM\): .*I/O error",
        r"^BTRFS (?:error|critical) \(device DM\b",
        r"^Aborting journal on device DM\b",
        r"^JBD2: .*\berror\b.* for DM\b",
        r"^DM: writeback error on inode",  # iomap, as of XFS
    )
)
_TROUBLE = re.compile(
    r"(?:^BUG:|kernel BUG at|^WARNING:|^Oops\b|^general protection fault|Kernel panic"
    r"|: [0-9a-f]{4,16} \[#\d+\]"  # die() in arch/*/kernel, whatever its reason
    r"|possible circular locking|possible recursive locking"
    r"|soft lockup|hard LOCKUP|rcu.*detected (?:expedited )?stall|Unable to handle kernel)"
)
# Of a process, whosever it is.
_DISTRESS = re.compile(
    r"(?:INFO: task .* blocked (?:in I/O wait )?for more than"
    r"|^Out of memory\b)"  # of the machine, not of a control group
)


def is_trouble(message: KernelMessage) -> bool:
    """Whether the record shows a defect of the kernel itself, a hung task, or want of memory."""
    return bool(_TROUBLE.search(message.text)) or is_distress(message)


def is_distress(message: KernelMessage) -> bool:
    """Whether the record is about a process that hung, or was killed for want of memory.

    On a machine where others run programs it may be one of theirs.
    """
    return bool(_DISTRESS.search(message.text))


def is_map_error(message: KernelMessage, lun: LunDevices) -> bool:
    """Whether the record says that I/O on the LUN's map failed."""
    found = [match for pattern in _MAP_ERRORS if (match := pattern.search(message.text))]
    return any(lun.has_map_minor(match["minor"], message.at_ns) for match in found)


def events(log: KernelLog, lun: LunDevices, uncertainty_ns: int) -> Iterator[Event]:
    """The events of a log, where the machine has the LUN by these devices."""

    def event(message: KernelMessage, what: Happened, detail: str, path: str = "") -> Event:
        source = f"{log.machine} kernel"
        return Event(message.at_ns, what, source, detail, uncertainty_ns, path)

    for message in log.messages:
        for pattern, what in _SESSION_STORY:
            if match := pattern.search(message.text):
                path = lun.sessions.get(f"session{match['session']}")
                if path is not None:
                    yield event(message, what, message.text, path)
        if match := _PATH.search(message.text):
            path = _path(match, message.at_ns, lun)
            if path is not None:
                yield event(message, _PATH_STORY[match["what"]], path, path)
        if is_map_error(message, lun):
            yield event(message, Happened.MAP_ERROR, message.text)
        if is_trouble(message):
            yield event(message, Happened.KERNEL_TROUBLE, message.text)


def _path(match: re.Match[str], at_ns: int, lun: LunDevices) -> str | None:
    """The path that a line of dm-multipath is about; None for one of another map.

    By the map's number, or by the disk if the kernel does not tell that: a disk is in one map only.
    A disk of the LUN's map that was never seen there is named by its number.
    """
    path = lun.path(match["disk"], at_ns)
    if match["map"] is None:
        return path
    return (path or match["disk"]) if lun.has_map(match["map"], at_ns) else None
