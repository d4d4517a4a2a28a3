"""How an initiator reaches its LUNs: open-iscsi and dm-multipath, and what the kernel says of them.

`iscsi` has the sessions, `dm_multipath` the maps; this folder joins them. Imports `machine`,
`observe` and the data layers.
"""

from harness.transport.dm_multipath.attachment import Attachment
from harness.transport.initiator import Initiator
from harness.transport.iscsi.sysfs import Session
from harness.transport.map_probe import MAPS

__all__ = ["MAPS", "Attachment", "Initiator", "Session"]
