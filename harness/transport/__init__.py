"""How an initiator reaches its LUNs: open-iscsi and dm-multipath, and what the kernel says of them.

`base` is what the rest of the harness needs of a transport. `iscsi` has the sessions,
`dm_multipath` the maps, `fitness` judges both; this folder joins them. Imports `machine`,
`observe` and the data layers.
"""

from harness.transport.base import (
    Allowances,
    Attachment,
    ExistingInitiator,
    Fitness,
    Initiator,
    WantedLun,
)
from harness.transport.choice import existing_initiator_for, initiator_for
from harness.transport.dm_multipath.multipath import READ_EVERY_PATH
from harness.transport.initiator import IscsiInitiator
from harness.transport.map_probe import MAPS
from harness.transport.path_disk import PathDisk

__all__ = [
    "MAPS",
    "READ_EVERY_PATH",
    "Allowances",
    "Attachment",
    "ExistingInitiator",
    "Fitness",
    "Initiator",
    "IscsiInitiator",
    "PathDisk",
    "WantedLun",
    "existing_initiator_for",
    "initiator_for",
]
