"""A kind of fault: where a topology can have one, and what lists tell of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.faults.base import Fault
from harness.topology import Topology

Possible = Callable[[Fault], bool]


class Family(StrEnum):
    """What breaks: a NIC or its cable, what becomes of packets, sessions, the target or its disks.

    Or a controller of the target takes over from another one; or it is something of an initiator
    itself, several of these at once, or what only the user's own commands know.
    """

    LINK = "link"
    PACKET = "packet"
    SESSION = "session"
    # Not "target": that word chooses what acts there.
    STORAGE = "storage"
    CONTROLLER = "controller"
    # The one family that has its word in common with an end.
    INITIATOR = "initiator"
    SEVERAL = "several"
    CALLOUT = "callout"


@dataclass(frozen=True)
class Kind:
    """A kind of fault, and one for each link, portal or the like that can have it.

    `fault` is its class, and `named_after` what each one has its name from, such as "link".
    `breaks` says what is broken, `shows` what the initiator can see of it. `everywhere` takes a
    topology and what is possible there: those that have parts are made of such. Those that are
    `usual` are tried unless others are asked for; those that are `damaging`, under which a sound
    storage may lose writes, only if they are asked for by their words. Those that are `passing`
    may hit every path of an initiator: I/O goes on, or waits for their end.
    """

    fault: type[Fault]
    named_after: str
    family: Family
    breaks: str
    shows: str
    everywhere: Callable[[Topology, Possible], Sequence[Fault]]
    usual: bool = False
    damaging: bool = False
    passing: bool = False

    @property
    def name(self) -> str:
        """The name of its class."""
        return self.fault.__name__
