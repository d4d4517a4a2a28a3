"""Connections that the target's kernel ends: ss(8) with `--kill`, which sends a reset to the peer.

The target's software learns that its connection was aborted. Source: tcp_abort() in net/ipv4/tcp.c;
a kernel without CONFIG_INET_DIAG_DESTROY ends none.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.budget import Effect
from harness.deadline import Deadline, poll
from harness.errors import FaultError, LabCannot
from harness.faults.base import CONFIRM_TIMEOUT_S, SAMPLE_TIMEOUT_S, Lab, Means
from harness.faults.kind import Family, Kind, Possible
from harness.faults.sampling import SampledByShell
from harness.faults.undoing import UndoneByShell
from harness.measurements import MeansSample
from harness.topology import Portal, Role, Topology

_TARGET = Role.TARGET.value
_TIMEOUT_S = 30.0


def connections_of(portal: Portal, *options: str) -> str:
    """Shell that prints the target's end of each connection to a portal, a line each."""
    argv = ("ss", "-tnHO", *options, "state", "established", "src", str(portal))
    return shlex.join(argv)


@dataclass(frozen=True)
class ConnectionsKilled(UndoneByShell, SampledByShell):
    """The target's kernel ends the connections to one portal, again and again.

    The session logs in again at once. What was under way is sent again, or its path is lost.
    """

    portal: str
    every_s: ClassVar[float] = 5.0

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[ConnectionsKilled, ...]:
        """One of each portal."""
        return tuple(cls(portal.name) for portal in topology.portals)

    @property
    def where(self) -> str:
        return self.portal

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({Means.TARGET_GUEST})

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.INTERRUPTED})

    @property
    def lasts_s(self) -> float:
        """Two more times, and time to come back."""
        return 2 * self.every_s + 2

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_portal(self.portal)

    def machine(self, topology: Topology) -> str:  # there is one target
        return _TARGET

    @property
    def description(self) -> str:
        return (
            f"the target's kernel ends the connections to portal {self.portal} every "
            f"{self.every_s:g} s"
        )

    @property
    def _log(self) -> str:
        """What was ended, a line for each connection; it is there as long as the fault is."""
        return f"/run/pathproof-killed-{self.portal}"

    def inject(self, lab: Lab) -> None:
        """Raises LabCannot if the target's kernel ends none."""
        portal = lab.topology.portal(self.portal).portal
        script = f"{connections_of(portal)} | wc -l; {self._killing(portal)}; wc -l <{self._log}"
        there, killed = map(
            int, lab.machine(_TARGET).sh(script, timeout_s=_TIMEOUT_S).stdout.split()
        )
        if there and not killed:
            lab.machine(_TARGET).sh(self._removing, timeout_s=_TIMEOUT_S)
            raise LabCannot(
                f"{self.name} is not possible here: the kernel of the target ends no connections "
                "(CONFIG_INET_DIAG_DESTROY)"
            )

    def confirm(self, lab: Lab) -> None:
        poll(
            lambda: self._killed(lab) or self._kill(lab),
            what=f"a connection that {self.name} ended",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
            every_s=0.3,
        )

    def go_on(self, lab: Lab, over: threading.Event) -> None:
        while not over.wait(self.every_s):
            self._kill(lab)

    def sampling(self, lab: Lab) -> str:
        return f"[ ! -e {self._log} ] || wc -l <{self._log}"

    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        if not told.strip():
            return [MeansSample(self.name, missing=f"{self._log} of the target is gone")]
        return [MeansSample(self.name, count=int(told), grows=True)]

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        return {_TARGET: self._removing}

    def confirm_healed(self, lab: Lab) -> None:
        if lab.machine(_TARGET).sh(self.sampling(lab), timeout_s=SAMPLE_TIMEOUT_S).stdout.strip():
            raise FaultError(f"{self.name} is not healed: {self._log} is still there")

    @property
    def _removing(self) -> str:
        return f"rm -f {self._log}"

    def _killing(self, portal: Portal) -> str:
        """What ss ends it prints. One that has just ended by itself is no error."""
        return f"{connections_of(portal, '--kill')} >>{self._log} || :"

    def _kill(self, lab: Lab) -> bool:
        portal = lab.topology.portal(self.portal).portal
        lab.machine(_TARGET).sh(self._killing(portal), timeout_s=_TIMEOUT_S)
        return False

    def _killed(self, lab: Lab) -> bool:
        told = lab.machine(_TARGET).sh(self.sampling(lab), timeout_s=SAMPLE_TIMEOUT_S).stdout
        return int(told or 0) > 0


CUT_CONNECTIONS_KINDS = (
    Kind(
        ConnectionsKilled,
        "portal",
        Family.SESSION,
        "the target's kernel ends the connections to one portal "
        f"(`ss --kill`), every {ConnectionsKilled.every_s:g} s",
        "a reset ends each connection, and the login after it succeeds",
        ConnectionsKilled.everywhere,
    ),
)
