"""How an initiator reaches its LUNs: open-iscsi and dm-multipath, and what the kernel says of them.

`base` is what the rest of the harness needs of a transport. `iscsi` has the sessions,
`dm_multipath` the maps, `fitness` judges both; this folder joins them. Imports `machine`,
`observe` and the data layers.
"""

from harness.transport.access_states import SeenState, look_at_access_states
from harness.transport.base import (
    Allowances,
    Attachment,
    Daemon,
    ExistingInitiator,
    FaultShell,
    Fitness,
    Initiator,
    Transport,
    WantedLun,
)
from harness.transport.choice import transport_for
from harness.transport.features import Features
from harness.transport.initiator import IscsiInitiator
from harness.transport.path_disk import PathDisk

__all__ = [
    "Allowances",
    "Attachment",
    "Daemon",
    "ExistingInitiator",
    "FaultShell",
    "Features",
    "Fitness",
    "Initiator",
    "IscsiInitiator",
    "PathDisk",
    "SeenState",
    "Transport",
    "WantedLun",
    "look_at_access_states",
    "transport_for",
]
