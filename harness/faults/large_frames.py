"""A wrong MTU on the way: small frames arrive, large ones do not, and nobody is told.

What a switch does whose ports disagree on the MTU: no ICMP message says that a packet was too big
(a black hole, RFC 2923 section 2.1). Pings and logins pass, data does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.budget import Effect
from harness.faults.kind import Family, Kind
from harness.faults.portal_filter import TargetFilter

# A login's keys take some 600 bytes, a full segment on Ethernet 1500, a ping 100.
LARGEST = 1000


@dataclass(frozen=True)
class LargeFramesLost(TargetFilter):
    """The target's guest drops the large packets of one portal, both ways.

    A segment that is lost holds back all that comes after it in its connection, the answer to a
    ping, too. So the connection is found dead; the login after it succeeds, and the same I/O is
    sent again.
    """

    requests: ClassVar[str] = f"meta length > {LARGEST} counter drop"
    answers: ClassVar[str] = requests

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.INTERRUPTED})

    @property
    def lasts_s(self) -> float:
        """Some rounds of a connection that is lost and made again."""
        return 10.0

    @property
    def description(self) -> str:
        return (
            f"the target drops every packet of more than {LARGEST} bytes of its portal "
            f"{self.portal} (in its guest)"
        )


LARGE_FRAMES_KINDS = (
    Kind(
        LargeFramesLost,
        "portal",
        Family.LINK,
        f"packets of one portal of more than {LARGEST} bytes are dropped both ways, as where the "
        "MTU is too small on the way and no ICMP message says so",
        "NOPs and logins are answered, data is not; what follows lost data in a connection waits "
        "for it",
        LargeFramesLost.everywhere,
    ),
)
