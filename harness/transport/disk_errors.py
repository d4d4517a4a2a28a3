"""What a kernel log says of the disks that paths are: errors, retries and resets; pure.

While a path is dead such lines are what its loss looks like. At any other time they are trouble
that multipath hid from the application.

Sources: blk_print_req_error() in block/blk-mq.c, scsi_print_result() in
drivers/scsi/scsi_logging.c, scsi_prep_state_check() in drivers/scsi/scsi_lib.c,
scsi_report_sense() and scsi_eh_offline_sdevs() in drivers/scsi/scsi_error.c. Real lines (6.1):

    I/O error, dev sda, sector 39744 op 0x1:(WRITE) flags 0xca00 phys_seg 4 prio class 2
    sd 0:0:0:0: [sda] tag#86 FAILED Result: hostbyte=DID_TRANSPORT_DISRUPTED driverbyte=DRIVER_OK …
    sd 0:0:0:0: rejecting I/O to offline device
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from harness.measurements import DiskError, KernelLog, PathCounters

_ADDRESS = re.compile(r"\bsd (?P<address>\d+:\d+:\d+:\d+): \[(?P<disk>sd[a-z]+)\]")
_BY_DISK = re.compile(
    r"\berror,? dev (?P<disk>sd[a-z]+)\b"
    r"|\[(?P<failed>sd[a-z]+)\] tag#\d+ (?:FAILED Result|timing out command)"
)
_BY_ADDRESS = re.compile(
    r"\bsd (?P<address>\d+:\d+:\d+:\d+): (?:\[sd[a-z]+\] )?"
    r"(?:rejecting I/O to (?:offline|dead) device|Device offlined|timing out command"
    r"|Power-on or device reset occurred|Bus device reset function occurred)"
)


def disk_errors(log: KernelLog, paths: Sequence[PathCounters]) -> Iterator[DiskError]:
    """The lines of the initiator's log that are about disks of the paths.

    Some lines have the address of a disk only. Whose it is tells another line of the log; if there
    is none, the line is passed over. One of a disk name that several paths had may be about any of
    them: a path that comes back may have the name that another one had before.
    """
    owners: dict[str, list[str]] = {}
    for one in paths:
        for name in one.disks:
            owners.setdefault(name, []).append(one.path)
    named = filter(None, (_ADDRESS.search(message.text) for message in log.messages))
    disk_at = {match["address"]: match["disk"] for match in named}
    for message in log.messages:
        if (disk := _disk(message.text, disk_at)) in owners:
            yield DiskError(tuple(owners[disk]), message.at_ns, message.text)


def _disk(line: str, disk_at: Mapping[str, str]) -> str:
    """The name of the disk that a line is about, or nothing."""
    if match := _BY_DISK.search(line):
        return match["disk"] or match["failed"] or ""
    match = _BY_ADDRESS.search(line)
    return disk_at.get(match["address"], "") if match else ""
