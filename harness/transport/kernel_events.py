"""What a kernel log says of the LUN's paths, sessions and map.

A line about a session, disk, map or file system that is not the LUN's says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.measurements import KernelLog, KernelMessage
from harness.timeline import Event, Happened
from harness.transport.dm_multipath.kernel_log import is_map_error, path_change
from harness.transport.iscsi.kernel_log import session_event
from harness.transport.lun_devices import LunDevices


def events(log: KernelLog, lun: LunDevices, uncertainty_ns: int) -> Iterator[Event]:
    """The events of a log, where the machine has the LUN by these devices."""

    def event(message: KernelMessage, what: Happened, detail: str, path: str = "") -> Event:
        source = f"{log.machine} kernel"
        return Event(message.at_ns, what, source, detail, uncertainty_ns, path)

    for message in log.messages:
        if told := session_event(message, lun):
            yield event(message, told[0], message.text, told[1])
        if told := path_change(message, lun):
            yield event(message, told[0], told[1], told[1])
        if is_map_error(message, lun):
            yield event(message, Happened.MAP_ERROR, message.text)
