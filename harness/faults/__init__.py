"""What is broken where, and the means to inject and heal it. The name says where it acts.

`LinkDown`      the initiator's NIC loses its carrier, at the hypervisor
`PeerLinkDown`  the target's NIC loses its carrier, at the hypervisor; the initiator's keeps it
`SilentDrop`    the target's guest drops a portal's packets in both directions, without a reset
`InitiatorDrop` the initiator does so itself
`Together`      several at once
`ControllerLost` and `NetworkLost` are all portals of a controller, and all links of a network or,
                where no cable can be pulled, all portals of it
`OneByOne`      several, each once the paths of those before have failed
`losses`        everything that a topology can lose and go on
`least_loss_of` the one of them that takes a path, and as few others as can be
"""

from harness.faults.base import Fault, Lab, Means, Seen, Together
from harness.faults.injection import Injection, injected
from harness.faults.link import LinkDown, PeerLinkDown
from harness.faults.losses import (
    KINDS,
    ControllerLost,
    NetworkLost,
    OneByOne,
    least_loss_of,
    losses,
)
from harness.faults.silent_drop import InitiatorDrop, SilentDrop
from harness.faults.silent_loss import SilentLoss

__all__ = [
    "KINDS",
    "ControllerLost",
    "Fault",
    "InitiatorDrop",
    "Injection",
    "Lab",
    "LinkDown",
    "Means",
    "NetworkLost",
    "OneByOne",
    "PeerLinkDown",
    "Seen",
    "SilentDrop",
    "SilentLoss",
    "Together",
    "injected",
    "least_loss_of",
    "losses",
]
