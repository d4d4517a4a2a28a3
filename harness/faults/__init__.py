"""What is broken where, and the means to inject and heal it. The name says where it acts.

`CATALOGUE`       every kind that there is, with a few words on each
`Together`        several faults at once
`planned`         what a topology can have and go on, with its kinds; `losses` is the usual part
`least_loss_of`   the one of them that takes a path, and as few others as can be
`select`          chooses by words
`heal_everything` heals whatever may be there; `heal_left_behind` what callouts of killed runs broke
"""

from harness.faults.access_states import (
    NonOptimized,
    Standby,
    Takeover,
    Transitioning,
    Unavailable,
)
from harness.faults.addresses import AddressRemoved, PortalAddressRemoved
from harness.faults.base import Fault, Lab, Means
from harness.faults.callout import Callout, heal_callouts
from harness.faults.callout_records import heal_left_behind
from harness.faults.catalogue import CATALOGUE, PlannedFault, least_loss_of, losses, planned
from harness.faults.cut_connections import ConnectionsKilled
from harness.faults.daemons import LoginDaemonKilled, PathDaemonKilled
from harness.faults.disks import DiskDeleted, DiskOffline
from harness.faults.healing import heal_everything
from harness.faults.held import AnswersHeld, RequestsHeld
from harness.faults.impaired import (
    Corruption,
    Delay,
    Duplication,
    Jitter,
    PacketLoss,
    RateLimit,
    Reordering,
)
from harness.faults.injection import Injection, injected
from harness.faults.kind import Family, Kind, Possible
from harness.faults.large_frames import LargeFramesLost
from harness.faults.link import (
    BothEndsDown,
    LinkDown,
    LinkFlaps,
    NicDown,
    PeerLinkDown,
    PeerNicDown,
)
from harness.faults.losses import ControllerLost, NetworkLost, OneByOne
from harness.faults.lun_offline import LunsOffline
from harness.faults.portal_settings import LoginsRefused, PortalClosed, PortalRemoved
from harness.faults.refusal import AnswersDropped, Rejected, RequestsDropped, Reset
from harness.faults.repeated import PathDaemonReconfigured, PathDaemonRestarted, Rescan
from harness.faults.selection import select
from harness.faults.silent_drop import InitiatorDrop, SilentDrop
from harness.faults.silent_loss import SilentLoss
from harness.faults.target_vm import StorageHangs, StorageSlow, TargetPaused
from harness.faults.together import Together

__all__ = [
    "CATALOGUE",
    "AddressRemoved",
    "AnswersDropped",
    "AnswersHeld",
    "BothEndsDown",
    "Callout",
    "ConnectionsKilled",
    "ControllerLost",
    "Corruption",
    "Delay",
    "DiskDeleted",
    "DiskOffline",
    "Duplication",
    "Family",
    "Fault",
    "InitiatorDrop",
    "Injection",
    "Jitter",
    "Kind",
    "Lab",
    "LargeFramesLost",
    "LinkDown",
    "LinkFlaps",
    "LoginDaemonKilled",
    "LoginsRefused",
    "LunsOffline",
    "Means",
    "NetworkLost",
    "NicDown",
    "NonOptimized",
    "OneByOne",
    "PacketLoss",
    "PathDaemonKilled",
    "PathDaemonReconfigured",
    "PathDaemonRestarted",
    "PeerLinkDown",
    "PeerNicDown",
    "PlannedFault",
    "PortalAddressRemoved",
    "PortalClosed",
    "PortalRemoved",
    "Possible",
    "RateLimit",
    "Rejected",
    "Reordering",
    "RequestsDropped",
    "RequestsHeld",
    "Rescan",
    "Reset",
    "SilentDrop",
    "SilentLoss",
    "Standby",
    "StorageHangs",
    "StorageSlow",
    "Takeover",
    "TargetPaused",
    "Together",
    "Transitioning",
    "Unavailable",
    "heal_callouts",
    "heal_everything",
    "heal_left_behind",
    "injected",
    "least_loss_of",
    "losses",
    "planned",
    "select",
]
