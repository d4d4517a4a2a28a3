"""What the kernel logs of iSCSI sessions.

Sources: iscsi_conn_error_event() and session_recovery_timedout() in
drivers/scsi/scsi_transport_iscsi.c, iscsi_check_transport_timeouts() in libiscsi.c; of 5.10, 6.1,
6.12 and 7.2. Real lines (6.1):

    connection1:0: ping timeout of 1 secs expired, recv timeout 1, last rx 4294917296, …
    connection1:0: detected conn error (1022)
    session1: session recovery timed out after 1 secs
"""

from __future__ import annotations

import re

from harness.measurements import KernelMessage
from harness.timeline import Happened
from harness.transport.lun_devices import LunDevices

_STORY = (
    (
        re.compile(r"\bconnection(?P<session>\d+):\d+: (?:ping timeout|detected conn error)"),
        Happened.CONNECTION_ERROR,
    ),
    (
        re.compile(r"\bsession(?P<session>\d+): session recovery timed out"),
        Happened.RECOVERY_TIMED_OUT,
    ),
)


def session_event(message: KernelMessage, lun: LunDevices) -> tuple[Happened, str] | None:
    """What a record says of a session that leads to the LUN, and the path; None if nothing."""
    for pattern, what in _STORY:
        if match := pattern.search(message.text):
            path = lun.sessions.get(f"session{match['session']}")
            return None if path is None else (what, path)
    return None
