"""Daemons of an initiator that are killed, and stay away until the fault is healed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.budget import Effect
from harness.deadline import Deadline, poll
from harness.faults.base import CONFIRM_TIMEOUT_S, Lab
from harness.faults.kind import Family, Kind
from harness.faults.on_initiator import OfDaemon
from harness.measurements import MeansSample
from harness.topology import Topology, called
from harness.transport import Daemon

_AWAY = "0"


@dataclass(frozen=True)
class _Killed(OfDaemon):
    """A daemon that is killed. What the kernel has of sessions and maps goes on without it."""

    def inject(self, lab: Lab) -> None:
        self.run(lab, self.shell(lab).kill(self.daemon))

    def confirm(self, lab: Lab) -> None:
        script = self.shell(lab).process(self.daemon)
        poll(
            lambda: self.run(lab, script).stdout.strip() == _AWAY,
            what=f"the end of the {self.daemon} of {called(self.initiator)}",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
            every_s=0.3,
        )

    def sampling(self, lab: Lab) -> str:
        return self.shell(lab).process(self.daemon)

    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        runs = told.strip() != _AWAY
        missing = f"the {self.daemon} of {called(self.initiator)} runs" if runs else ""
        return [MeansSample(self.name, missing=missing)]

    @property
    def description(self) -> str:
        return f"the {self.daemon} of {called(self.initiator)} was killed, and is away"


@dataclass(frozen=True)
class LoginDaemonKilled(_Killed):
    """The daemon that keeps sessions is killed.

    Sessions stay with the kernel. Once the daemon is back it knows nothing of them: it ends each of
    them and logs in anew, one after the other. So every path is hit, and only then.
    """

    daemon: ClassVar[Daemon] = Daemon.LOGIN

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return tuple(path.name for path in topology.paths if path.machine == self.initiator)

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.RECONNECTED})


@dataclass(frozen=True)
class PathDaemonKilled(_Killed):
    """The daemon that keeps maps is killed.

    The kernel gives up paths that are lost, and goes on over the others. It takes none back: that
    is the daemon's, which looks at all of them as it starts.
    """

    daemon: ClassVar[Daemon] = Daemon.PATHS

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.UNNOTICED})


DAEMON_KINDS = (
    Kind(
        LoginDaemonKilled,
        "initiator",
        Family.INITIATOR,
        "the login daemon of one initiator is killed, and stays away",
        "sessions go on; when the daemon is back it ends each and logs in anew, one after the "
        "other",
        LoginDaemonKilled.everywhere,
        passing=True,
    ),
    Kind(
        PathDaemonKilled,
        "initiator",
        Family.INITIATOR,
        "the path daemon of one initiator is killed, and stays away",
        "nothing, as long as no path is lost: until the daemon is back none is taken back",
        PathDaemonKilled.everywhere,
    ),
)
