"""What was measured in one test: frozen data between measuring and judging.

Times are nanoseconds on the host's monotonic clock unless a name says otherwise; arrays
are one-dimensional, int64, of one length within an object and ordered by time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from math import inf

import numpy as np
from numpy.typing import NDArray

from harness.budget import Budget
from harness.timeline import Phase, Timeline

Ints = NDArray[np.int64]

PROBE = "probe"  # the name of the paced depth-1 stream that stalls are measured by
MAP = "map"  # where a block was read, if not over one path
LOGGED_IN = "LOGGED_IN"  # state of a session, drivers/scsi/scsi_transport_iscsi.c


@dataclass(frozen=True, eq=False)
class CompletionLog:
    """Every completed I/O of one stream, from fio's per-I/O latency log.

    `at_ns` is when it completed, `latency_ns` the time since it was submitted.
    `resolution_ns` is the grain of the times (fio logs milliseconds).
    """

    at_ns: Ints
    latency_ns: Ints
    offset: Ints
    size: Ints
    is_write: NDArray[np.bool_]
    resolution_ns: int

    def __len__(self) -> int:
        return len(self.at_ns)


@dataclass(frozen=True)
class FioErrors:
    """What fio itself says of one job: its error number (errno, 0 is none) and error count."""

    error: int
    total_errors: int
    verify_errors: int


@dataclass(frozen=True, eq=False)
class Stream:
    """One fio job. `depth` is the I/O it keeps outstanding; `verified` whether it checks data.

    `reported` is how many I/Os it did by fio's own report, which counts apart from the log.
    `pace` is what it was asked to carry, in bytes a second; None if as much as it can.
    """

    name: str
    depth: int
    verified: bool
    completions: CompletionLog
    errors: FioErrors
    reported: int | None = None
    pace: float | None = None

    @property
    def whole(self) -> bool:
        """Whether fio's log has as many I/Os as fio's report."""
        return len(self.completions) == self.reported


@dataclass(frozen=True, eq=False)
class PathCounters:
    """Bytes that one path carried since it appeared (/sys/block/*/stat), sampled over time.

    `disks` are the SCSI disks that it was, by their names, in their order.
    """

    path: str
    disks: tuple[str, ...]
    at_ns: Ints
    bytes_read: Ints
    bytes_written: Ints

    def between(self, start_ns: int, end_ns: int) -> int | None:
        """Bytes carried in a stretch of time; None unless samples lie within it.

        Only samples inside the stretch count, so what happened outside never leaks in.
        """
        inside = (self.at_ns >= start_ns) & (self.at_ns <= end_ns)
        if np.count_nonzero(inside) < 2:
            return None
        total = (self.bytes_read + self.bytes_written)[inside]
        return int(total[-1] - total[0])


@dataclass(frozen=True, eq=False)
class CableEnd:
    """What the NIC of `machine` at the end of a cable of the lab's own has carried, over time.

    Frames and bytes count since the NIC appeared. `beats` are frames that the observer has sent:
    one before each sample, unless that was impossible. `carrier` tells whether the cable was
    plugged in, `carrier_changes` how often that has changed.
    """

    machine: str
    link: str
    at_ns: Ints
    frames_sent: Ints
    frames_received: Ints
    bytes_sent: Ints
    bytes_received: Ints
    dropped_sending: Ints
    dropped_receiving: Ints
    beats: Ints
    carrier_changes: Ints
    carrier: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabDisk:
    """I/Os of a disk that the lab lends to `machine`: `in_flight` then, `completed` until then.

    Sampled over time, from /sys/block/*/stat; `disk` is its name there.
    """

    machine: str
    disk: str
    at_ns: Ints
    in_flight: Ints
    completed: Ints


@dataclass(frozen=True)
class PathStates:
    """State of every path of the map at one moment: path name -> "active" or "failed".

    Paths in `reserve` are in a group of the map that was not in use. Those in `joined` have a disk
    that was not in the map the moment before.
    """

    at_ns: int
    states: Mapping[str, str]
    reserve: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()


@dataclass(frozen=True)
class KernelMessage:
    """One record of a guest's kernel log; `level` as in syslog(3), 0 is the worst."""

    at_ns: int
    level: int
    text: str


@dataclass(frozen=True)
class KernelLog:
    """A machine's kernel log during the test; `lost` counts records known to be missing.

    Its clock is related to the machine's monotonic one to within `error_ns`.
    """

    machine: str
    messages: tuple[KernelMessage, ...]
    lost: int
    error_ns: int = 0


@dataclass(frozen=True)
class ClockReading:
    """Guest monotonic minus host monotonic, measured at host time `at_ns`."""

    machine: str
    at_ns: int
    offset_ns: int
    uncertainty_ns: int


@dataclass(frozen=True, eq=False)
class Watching:
    """How well one machine was watched from `start_ns` to `end_ns`.

    `wanted_per_s` samples a second were asked for, and taken `at_ns`, when its wall clock was
    ahead of its monotonic one by `wall_ahead_ns` and the observer had had `cpu_ns` of processor
    time. `missing_marks` were written into its kernel log and are not there; `died` says how the
    observer ended too early.
    """

    machine: str
    start_ns: int
    end_ns: int
    at_ns: Ints
    wall_ahead_ns: Ints
    cpu_ns: Ints
    wanted_per_s: float = 10.0
    missing_marks: tuple[str, ...] = ()
    died: str = ""

    @property
    def samples_per_s(self) -> float:
        """By the median of the intervals; 0 if there are none."""
        if len(self.at_ns) < 2:
            return 0.0
        return 1e9 / float(np.median(np.diff(self.at_ns)))

    def gaps(self) -> Iterator[tuple[int, int]]:
        """From each sample to the next: when each gap began and ended, the edges included."""
        return pairwise([self.start_ns, *self.at_ns.tolist(), self.end_ns])

    @property
    def cpu_share(self) -> float:
        """Share of one processor that the observer took; 0 if it told less than twice."""
        told = np.flatnonzero(np.diff(self.cpu_ns, prepend=-1))  # others repeat what was told
        if len(told) < 2:
            return 0.0
        first, last = told[0], told[-1]
        taken = self.cpu_ns[last] - self.cpu_ns[first]
        return float(taken) / float(self.at_ns[last] - self.at_ns[first])

    @property
    def wall_jump_ns(self) -> int:
        """By how much the wall clock jumped between two samples, at most."""
        return int(np.abs(np.diff(self.wall_ahead_ns)).max(initial=0))


@dataclass(frozen=True, eq=False)
class ProcessorTime:
    """What the host's scheduler gave to the threads of a testbed's guests since they began.

    `at_ns` has one entry a sample. `ran_ns` is time on a processor, `waited_ns` time ready to run
    without one (steal time): a row a sample, a column a thread. `machines` says whose each is.
    """

    at_ns: Ints
    ran_ns: Ints
    waited_ns: Ints
    machines: tuple[str, ...]

    def waited_between(self, start_ns: int, end_ns: int, machine: str = "") -> int:
        """Nanoseconds of a stretch of time in which a machine, or any, can have stood still for it.

        Those of the thread that waited the longest: what others waited meanwhile cost no more.
        """
        grown = self._grown(self.waited_ns, start_ns, end_ns)
        its_own = [
            waited
            for name, waited in zip(self.machines, grown, strict=True)
            if not machine or name == machine
        ]
        return min(int(max(its_own, default=0)), end_ns - start_ns)

    def steal(self, start_ns: int, end_ns: int) -> float:
        """Share of the processor time wanted in a stretch of time that was not given, 0 to 1."""
        waited = int(self._grown(self.waited_ns, start_ns, end_ns).sum())
        wanted = waited + int(self._grown(self.ran_ns, start_ns, end_ns).sum())
        return waited / wanted if wanted else 0.0

    def _grown(self, total: Ints, start_ns: int, end_ns: int) -> NDArray[np.float64]:
        """By how much each thread's total grew; evenly between two samples."""
        ends = [np.interp([start_ns, end_ns], self.at_ns, thread) for thread in total.T]
        return np.array([end - start for start, end in ends])


@dataclass(frozen=True)
class SessionSettings:
    """The effective timeouts of one session, from /sys/class/iscsi_session and _connection.

    Without NOP-Outs their interval and timeout are 0; `recovery_tmo_s` is negative if the session
    never gives up. `through` is the link that the initiator's end of the connection is on: "" if on
    none. `connected_to` is the portal at its other end, "" if there
    is none, and `negotiated` what the login came to, by the names of RFC 7143, as far as the driver
    tells. Of what is in force all that says something only if `state` is LOGGED_IN.
    """

    path: str
    noop_out_interval_s: int
    noop_out_timeout_s: int
    recovery_tmo_s: int
    through: str = ""
    connected_to: str = ""
    negotiated: Mapping[str, str] = field(default_factory=dict)
    state: str = LOGGED_IN

    @property
    def limits(self) -> tuple[float, float, float]:
        """Interval and timeout of NOP-Outs, and recovery; infinite where there is no limit.

        The kernel sends no NOP-Out if the interval is 0, and replaces a timeout of 0
        (iscsi_check_transport_timeouts() and iscsi_conn_start() in drivers/scsi/libiscsi.c). A
        `recovery_tmo` of 0 is a limit: I/O fails at once (scsi_transport_iscsi.c).
        """
        return (
            self.noop_out_interval_s or inf,
            self.noop_out_timeout_s or inf,
            self.recovery_tmo_s if self.recovery_tmo_s >= 0 else inf,
        )


@dataclass(frozen=True)
class PlannedSession:
    """What a session was meant to be; a timeout of None was left to the distribution.

    Its connection must be from the link `through` to `portal`; `negotiated` holds the values that
    were asked for.
    """

    path: str
    noop_out_interval_s: int | None = None
    noop_out_timeout_s: int | None = None
    recovery_tmo_s: int | None = None
    portal: str = ""
    through: str = ""
    negotiated: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FaultRecord:
    """One fault as it was: what, where, when, and the stall it may cause.

    `paths` are those that carry nothing meanwhile, `links` those whose cables it disturbs.
    `io_stops` is True where no path is left, so that the stall lasts until healing. The order
    to heal was given at `healing_ns`, zero if that is not known, and carried out by `healed_ns`;
    after that a path may take as long as `returning` allows until it is used again.
    """

    name: str
    paths: tuple[str, ...]
    description: str
    injected_ns: int
    confirmed_ns: int
    healed_ns: int
    healing_confirmed_ns: int
    budget: Budget
    returning: Budget
    io_stops: bool = False
    healing_ns: int = 0
    links: tuple[str, ...] = ()


class Damage(StrEnum):
    """What can be wrong with a block; docs/measuring.md has a sentence for each."""

    BLANK = "blank"
    FOREIGN = "foreign"
    MISDIRECTED = "misdirected"
    TORN = "torn"
    LOST = "lost"
    CAME_BACK = "came back"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class BlockFinding:
    """A block that is not what was acknowledged, and where it was read: MAP or a path's name."""

    offset: int
    place: str
    damage: Damage
    detail: str = ""

    def __str__(self) -> str:
        text = f"{self.damage} at offset {self.offset} ({self.place})"
        return f"{text}: {self.detail}" if self.detail else text


@dataclass(frozen=True)
class ReadBack:
    """The full read-back of everything acknowledged, after healing, at each place: MAP and paths.

    `acknowledged` counts blocks, `checked` those read, by place, and `verified` those that fio
    itself read back while it ran. `away` says why a path could not be read. Where a path has what
    the map has, a wrong block is a finding of the map alone.
    """

    acknowledged: int
    verified: int
    checked: Mapping[str, int]
    findings: tuple[BlockFinding, ...] = ()
    away: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Measurements:
    """All that the checks may look at.

    `processors` is None where the guests run elsewhere; `cut_short` says why the test ended
    before its time, if it did; `max_stall_s` is the longest stall accepted whatever the budget.
    `settings` are those before the first fault, `settings_after` those once I/O was over; None if
    that was not looked at. `machines` were meant to be watched; those in `existing` were not made
    by the run, and others may run programs there. `errors_forced` tells that I/O which hung was
    made to fail.
    `cable_ends` has two for each cable that the lab made itself, and none for other networks;
    `lab_disks` has those of a target that the lab made.
    """

    timeline: Timeline
    phases: tuple[Phase, ...]
    streams: tuple[Stream, ...]
    counters: tuple[PathCounters, ...]
    path_states: tuple[PathStates, ...]
    kernel_logs: tuple[KernelLog, ...]
    clocks: tuple[ClockReading, ...]
    settings: tuple[SessionSettings, ...]
    planned: tuple[PlannedSession, ...] = ()
    settings_after: tuple[SessionSettings, ...] | None = None
    faults: tuple[FaultRecord, ...] = ()
    read_back: ReadBack | None = None
    processors: ProcessorTime | None = None
    watching: tuple[Watching, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    cut_short: str = ""
    max_stall_s: float | None = None
    machines: tuple[str, ...] = ()
    existing: tuple[str, ...] = ()
    errors_forced: bool = False
    cable_ends: tuple[CableEnd, ...] = ()
    lab_disks: tuple[LabDisk, ...] = ()

    def phase(self, name: str) -> Phase | None:
        """The phase of that name, if the test had one."""
        return next((p for p in self.phases if p.name == name), None)

    @property
    def probe(self) -> Stream | None:
        """The paced depth-1 probe."""
        return next((s for s in self.streams if s.name == PROBE), None)
