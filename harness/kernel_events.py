"""What a kernel log says of paths and sessions, and what in it must never be there.

Sources: iscsi_conn_error_event() and session_recovery_timedout() in
drivers/scsi/scsi_transport_iscsi.c, iscsi_check_transport_timeouts() in libiscsi.c,
fail_path() and reinstate_path() in drivers/md/dm-mpath.c. Real lines (6.1):

    connection1:0: ping timeout of 1 secs expired, recv timeout 1, last rx 4294917296, …
    connection1:0: detected conn error (1022)
    session1: session recovery timed out after 1 secs
    device-mapper: multipath: 253:0: Failing path 8:16.
    device-mapper: multipath: 253:0: Reinstating path 8:16.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from harness.measurements import KernelLog, KernelMessage
from harness.timeline import Event, Happened

_STORY = (
    (
        re.compile(r"connection\d+:\d+: (?:ping timeout|detected conn error)"),
        Happened.CONNECTION_ERROR,
    ),
    (re.compile(r"session\d+: session recovery timed out"), Happened.RECOVERY_TIMED_OUT),
    (re.compile(r"multipath: \d+:\d+: Failing path (?P<device>\d+:\d+)"), Happened.PATH_FAILED),
    (
        re.compile(r"multipath: \d+:\d+: Reinstating path (?P<device>\d+:\d+)"),
        Happened.PATH_REINSTATED,
    ),
)
# Errors on sdX are normal while a path is dead; on the map they are what multipath must prevent.
_MAP_ERROR = re.compile(
    r"(?:\berror,? (?:on )?dev(?:ice)? dm-\d+|EXT4-fs error|XFS .*I/O error)", re.IGNORECASE
)
_TROUBLE = re.compile(
    r"(?:^BUG:|kernel BUG at|^WARNING:|^Oops\b|general protection fault|Kernel panic"
    r"|: [0-9a-f]{4,16} \[#\d+\]"  # die() in arch/*/kernel, whatever its reason
    r"|INFO: task .* blocked for more than|possible circular locking|possible recursive locking"
    r"|soft lockup|hard LOCKUP|rcu.*detected (?:expedited )?stall|Unable to handle kernel)"
)


def is_map_error(message: KernelMessage) -> bool:
    """Whether the record says that I/O on a map failed."""
    return bool(_MAP_ERROR.search(message.text))


def is_trouble(message: KernelMessage) -> bool:
    """Whether the record shows a defect of the kernel itself, or a hung task."""
    return bool(_TROUBLE.search(message.text))


def events(log: KernelLog, path_names: Mapping[str, str], uncertainty_ns: int) -> Iterator[Event]:
    """The events of a log. `path_names` maps a device number ("8:16") to a path's name."""
    for message in log.messages:
        for pattern, what in _STORY:
            if match := pattern.search(message.text):
                device = match.groupdict().get("device")
                detail = path_names.get(device, device) if device else message.text
                yield Event(message.at_ns, what, f"{log.machine} kernel", detail, uncertainty_ns)
        if is_map_error(message):
            yield Event(
                message.at_ns,
                Happened.MAP_ERROR,
                f"{log.machine} kernel",
                message.text,
                uncertainty_ns,
            )
        if is_trouble(message):
            yield Event(
                message.at_ns,
                Happened.KERNEL_TROUBLE,
                f"{log.machine} kernel",
                message.text,
                uncertainty_ns,
            )
