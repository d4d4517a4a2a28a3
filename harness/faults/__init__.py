"""What is broken where, and the means to inject and heal it. The name says where it acts.

`LinkDown`      the initiator's NIC loses its carrier, at the hypervisor
`PeerLinkDown`  the target's NIC loses its carrier, at the hypervisor; the initiator's keeps it
`SilentDrop`    the target's guest drops a portal's packets in both directions, without a reset
`InitiatorDrop` the initiator does so itself
`Together`      several at once
`ControllerLost` and `NetworkLost` are all portals of a controller, and all links of a network or,
                where no cable can be pulled, all portals of it
`OneByOne`      several, each once the paths of those before have failed
`CATALOGUE`     every kind that there is
`planned`       all of that that a topology can have and go on, with its kinds
`losses`        the same without them
`least_loss_of` the one of them that takes a path, and as few others as can be
`heal_everything` heals all of it, be it there or not
`select`        chooses of it by words
"""

from harness.faults.base import Fault, Lab, Means, Seen, Together
from harness.faults.catalogue import (
    CATALOGUE,
    Planned,
    heal_everything,
    least_loss_of,
    losses,
    planned,
)
from harness.faults.injection import Injection, injected
from harness.faults.kind import Family, Kind
from harness.faults.link import LinkDown, PeerLinkDown
from harness.faults.losses import ControllerLost, NetworkLost, OneByOne
from harness.faults.selection import select
from harness.faults.silent_drop import InitiatorDrop, SilentDrop
from harness.faults.silent_loss import SilentLoss

__all__ = [
    "CATALOGUE",
    "ControllerLost",
    "Family",
    "Fault",
    "InitiatorDrop",
    "Injection",
    "Kind",
    "Lab",
    "LinkDown",
    "Means",
    "NetworkLost",
    "OneByOne",
    "PeerLinkDown",
    "Planned",
    "Seen",
    "SilentDrop",
    "SilentLoss",
    "Together",
    "heal_everything",
    "injected",
    "least_loss_of",
    "losses",
    "planned",
    "select",
]
