"""How an initiator reaches its LUNs: open-iscsi and dm-multipath, and what the kernel says of them.

`base` is what the rest of the harness needs of a transport. `iscsi` has the sessions,
`dm_multipath` the maps, `fitness` judges both; this folder joins them. Imports `machine`,
`observe` and the data layers.
"""

from harness.transport.base import Allowances, Attachment, Fitness, Initiator, WantedLun
from harness.transport.initiator import IscsiInitiator
from harness.transport.map_probe import MAPS
from harness.transport.path_disk import PathDisk

__all__ = [
    "MAPS",
    "Allowances",
    "Attachment",
    "Fitness",
    "Initiator",
    "IscsiInitiator",
    "PathDisk",
    "WantedLun",
]
