"""What the kernel logs of a dm-multipath map: its paths, and errors of I/O on the map itself.

Sources: fail_path() and reinstate_path() in drivers/md/dm-mpath.c, blk_print_req_error() in
block/blk-mq.c, buffer_io_error() in fs/buffer.c; of 5.10, 6.1, 6.12 and 7.2. Real lines (6.1;
kernels up to 5.7 leave out the map's number, but for those of RHEL 8):

    device-mapper: multipath: 253:0: Failing path 8:16.
    device-mapper: multipath: 253:0: Reinstating path 8:16.

Habits that readings of samples and log rely on: fail_path() and reinstate_path() log changes only;
multipathd loads a map without a disk that is gone, and logs nothing of that in the kernel
(ev_remove_path() in multipathd/main.c); a map that is loaded anew takes every path for usable
(alloc_pgpath() and multipath_ctr()) until multipathd fails the dead ones again (sync_map_state());
multipathd looks at a path once a second at most (polling_interval in multipath.conf(5)); a slow
path is given less (dm-ps-service-time.c).
"""

from __future__ import annotations

import re

from harness.measurements import KernelMessage
from harness.timeline import Happened
from harness.transport.lun_devices import LunDevices

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


def path_change(message: KernelMessage, lun: LunDevices) -> tuple[Happened, str] | None:
    """What a record says of a path of the LUN's map, and which path; None if nothing."""
    if match := _PATH.search(message.text):
        path = _path(match, message.at_ns, lun)
        if path is not None:
            return _PATH_STORY[match["what"]], path
    return None


def is_map_error(message: KernelMessage, lun: LunDevices) -> bool:
    """Whether the record says that I/O on the LUN's map failed."""
    found = [match for pattern in _MAP_ERRORS if (match := pattern.search(message.text))]
    return any(lun.has_map_minor(match["minor"], message.at_ns) for match in found)


def _path(match: re.Match[str], at_ns: int, lun: LunDevices) -> str | None:
    """The path that a line of dm-multipath is about; None for one of another map.

    By the map's number, or by the disk if the kernel does not tell that: a disk is in one map only.
    A disk of the LUN's map that was never seen there is named by its number.
    """
    path = lun.path(match["disk"], at_ns)
    if match["map"] is None:
        return path
    return (path or match["disk"]) if lun.has_map(match["map"], at_ns) else None
