"""What is broken where, and the means to inject and heal it. The name says where it acts.

`LinkDown`      the initiator's NIC loses its carrier, at the hypervisor
`PeerLinkDown`  the target's NIC loses its carrier, at the hypervisor; the initiator's keeps it
`SilentDrop`    the target's guest drops a portal's packets in both directions, without a reset
`InitiatorDrop` the initiator does so itself
`Together`      several at once
"""

from harness.faults.base import Fault, Injection, Lab, Means, Together, injected
from harness.faults.link import LinkDown, PeerLinkDown
from harness.faults.silent_drop import InitiatorDrop, SilentDrop
from harness.faults.silent_loss import SilentLoss

KINDS = (LinkDown, PeerLinkDown, SilentDrop, InitiatorDrop)

__all__ = [
    "KINDS",
    "Fault",
    "InitiatorDrop",
    "Injection",
    "Lab",
    "LinkDown",
    "Means",
    "PeerLinkDown",
    "SilentDrop",
    "SilentLoss",
    "Together",
    "injected",
]
