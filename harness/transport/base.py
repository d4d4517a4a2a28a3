"""What the rest of the harness needs of a transport, whatever it is made of.

A transport takes an initiator to its LUNs. It has a session for each path, a map for each LUN, and
words of its own for what is in force, what the kernel says and what is wrong. iSCSI with
dm-multipath is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from harness.budget import BudgetTerm, Effect
from harness.config import Config
from harness.errors import Problem
from harness.lacking import Lacking
from harness.machine import Machine
from harness.measurements import (
    DiskError,
    KernelLog,
    PathCounters,
    PlannedSession,
    SessionSettings,
    Wording,
)
from harness.observe import MapProbe
from harness.timeline import Event
from harness.topology import Topology
from harness.transport.features import Features
from harness.transport.lun_devices import LunDevices
from harness.transport.path_disk import PathDisk


class Allowances(Protocol):
    """How long the initiator may take by the settings in force, term by term."""

    def detection_terms(self, session: SessionSettings, effect: Effect) -> tuple[BudgetTerm, ...]:
        """Until the path of a session is given up, where a fault has that effect on it."""

    def recovery_terms(self, effect: Effect) -> tuple[BudgetTerm, ...]:
        """From healing until I/O goes over the path again."""

    def bears_s(self, session: SessionSettings) -> float:
        """How long a session may hear nothing and is not given up, whatever it heard before."""


@dataclass(frozen=True)
class WantedLun:
    """A LUN that was planned: `wwid` is None as long as it is not known, `serial` if it is not.

    `targets` are the names of the targets that have it.
    """

    wwid: str | None
    serial: str | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fitness:
    """What of sessions, paths and maps is not as planned, and what a run does without."""

    problems: tuple[Problem, ...] = ()
    lacking: tuple[Lacking, ...] = ()


class Attachment(Protocol):
    """One LUN on one machine: its map, and the disks that the map is made of."""

    wwid: str

    @property
    def machine(self) -> Machine: ...

    @property
    def map_name(self) -> str:
        """What samples call the map."""

    @property
    def device(self) -> str:
        """The map's device file."""

    def wait_for_map(self) -> None:
        """Wait until the map has every path, all of them active."""

    def paths(self) -> tuple[PathDisk, ...]:
        """The disk of every path to the LUN, in the order of the topology: exactly one each.

        Raises InitiatorError if a path has none or several; other LUNs are passed over.
        """

    def paths_in_use(self) -> dict[str, PathDisk]:
        """The disk of each path by the path's name, as far as it is known which one it is."""

    def take_path_away(self, name: str) -> None:
        """Take a healthy path out of the map, by the name of its disk."""

    def give_path_back(self, name: str) -> None:
        """Undo `take_path_away`."""

    @property
    def listing(self) -> str:
        """The name of what `describe_paths` shows."""

    def hang_evidence(self, timeout_s: float) -> Mapping[str, Callable[[], str]]:
        """What tells of the map while I/O hangs: by title, how to ask for it."""

    def describe_paths(self) -> str:
        """The map and its paths for people; an excuse if the machine does not answer."""

    def stop_queueing(self) -> None:
        """Let I/O fail instead of waiting for a path, so that nothing stays unkillable."""


class Daemon(StrEnum):
    """A program that an initiator always runs: one keeps its sessions, the other its paths."""

    LOGIN = "login daemon"
    PATHS = "path daemon"


class FaultShell(Protocol):
    """Shell by which faults act on an initiator's own programs, sessions and disks.

    Each is POSIX shell for one command, and fails if it has no effect, unless it says otherwise. It
    acts on nothing of others, but for daemons, which serve all.
    """

    def kill(self, daemon: Daemon) -> str:
        """Kill a daemon, which stays away until it is mended."""

    def restart(self, daemon: Daemon) -> str:
        """Stop a daemon and start it again: another process takes its place."""

    def process(self, daemon: Daemon) -> str:
        """Print the number of a daemon's process, 0 if it is away."""

    def is_ready(self, daemon: Daemon) -> str:
        """Succeed if a daemon runs, and has all that is its own in hand."""

    def mend(self, daemon: Daemon) -> str:
        """Start a daemon that is away, and wait until it is ready. May be run at any time."""

    def reconfigure(self) -> str:
        """Have the path daemon read its configuration, and look at all paths and maps anew."""

    def rescan(self) -> str:
        """Look for LUNs in each session, and anew at those that are known."""

    def show_disks(self) -> str:
        """Print what `disks` reads."""

    def disks(self, told: str) -> Mapping[str, Mapping[str, str]]:
        """The state of each disk of the LUNs by its name, for each path. Raises InitiatorError."""

    def take_offline(self, disks: Iterable[str]) -> str:
        """Have the kernel refuse I/O on these disks."""

    def delete(self, disks: Iterable[str]) -> str:
        """Have the kernel forget these disks."""

    def bring_disks_back(self) -> str:
        """Have disks of the LUNs that are offline run, and look for those that are missing.

        May be run at any time.
        """


class Initiator(Protocol):
    """One machine's way to the LUNs of a testbed."""

    look_yourself: str  # the commands that tell more, for people

    @property
    def machine(self) -> Machine: ...

    @property
    def topology(self) -> Topology: ...

    @property
    def wwids(self) -> tuple[str, ...]:
        """Those of the LUNs, in the order of the topology."""

    @property
    def attachments(self) -> Sequence[Attachment]:
        """Each LUN's, in the order of the topology."""

    def configure(self) -> None:
        """Write the configuration and start the daemons."""

    def bind(self, nics: Mapping[str, str]) -> None:
        """See to it that each session leaves by the NIC of its link; `nics` by link."""

    def log_in(self) -> None:
        """Make the session of every path. Raises InitiatorError with the portal and the reason."""

    def wait_for_maps(self) -> None:
        """Wait until every map has every path, all of them active."""

    def fitness(self, luns: Sequence[WantedLun]) -> Fitness:
        """What of sessions, paths and maps is not as planned at this moment.

        Raises InitiatorError, CommandFailed or CommandTimedOut while not all of it is there yet.
        """

    def planned_sessions(self) -> tuple[PlannedSession, ...]:
        """One session a path, with what is demanded of it."""

    def session_settings(self) -> tuple[SessionSettings, ...]:
        """What is in force on the session of each path, read now."""

    def allowances(self) -> Allowances:
        """How long a path may take to go and to return, by what is in force now."""

    @property
    def for_faults(self) -> FaultShell:
        """How faults act on it."""

    def hang_evidence(self, timeout_s: float) -> Mapping[str, Callable[[], str]]:
        """What tells of the sessions while I/O hangs: by title, how to ask for it."""

    def log_out(self) -> None:
        """Undo `log_in`. Raises InitiatorError with all that was left behind."""


class ExistingInitiator(Initiator, Protocol):
    """An initiator on a machine that serves others, too: it is left as it was found."""

    services: str  # the names of the services that must run there, for people

    def borrowed(self, fio: str = "fio") -> AbstractContextManager[None]:
        """Undo at the end of the block what was done in it, and say what is not as it was found.

        `fio` is the one that will run there. Raises InitiatorError, with nothing changed, if the
        machine is unfit or already in use.
        """

    @property
    def has_traces(self) -> bool:
        """Whether there is what a run has made: one that goes on, or one that was killed."""

    def require_tools(self, fio: str = "fio") -> None:
        """Raises InitiatorError if a tool is missing or too old; changes nothing."""

    def require_services(self) -> None:
        """Raises InitiatorError if they do not run or would not heed a run; changes nothing."""

    def require_unused(self) -> None:
        """Raises InitiatorError if others use the target or a LUN there; changes nothing."""


class Transport(Protocol):
    """What is the same for every machine of a testbed, and how its initiators are made."""

    @property
    def maps(self) -> MapProbe:
        """How samples look at maps."""

    @property
    def wording(self) -> Wording:
        """The words of reports, where they are not the harness's own."""

    @property
    def read_every_path(self) -> str:
        """Shell that reads something over each path, and prints how many paths are active."""

    def initiator(
        self, config: Config, machine: Machine, topology: Topology, wwids: tuple[str, ...]
    ) -> Initiator:
        """That of a machine of the testbed, for the LUNs of these WWIDs."""

    def existing_initiator(
        self, config: Config, machine: Machine, topology: Topology, wwids: tuple[str, ...]
    ) -> ExistingInitiator:
        """That of a machine which was there before the run, and serves others, too."""

    def kernel_events(
        self, log: KernelLog, lun: LunDevices, uncertainty_ns: int
    ) -> Iterator[Event]:
        """What a machine's kernel log says of the LUN's sessions, paths and map."""

    def features_argv(self, disk: str) -> list[str]:
        """Ask a path's disk, by its name, what it can do."""

    def parse_features(self, text: str) -> Features:
        """Its answer. Raises InitiatorError if there is none."""

    def disk_errors(self, log: KernelLog, paths: Sequence[PathCounters]) -> Iterator[DiskError]:
        """What an initiator's kernel log says of the disks that the paths were."""
