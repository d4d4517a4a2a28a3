"""All that was measured in one test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.measurements.faults import FaultRecord
from harness.measurements.lab import CableEnd, LabDisk, ProcessorTime
from harness.measurements.machines import ClockReading, KernelLog, Watching
from harness.measurements.paths import (
    DiskError,
    LinkTraffic,
    PathCounters,
    PathStates,
    UnplannedDisk,
)
from harness.measurements.read_back import ReadBack
from harness.measurements.sessions import PlannedSession, SessionSettings
from harness.measurements.streams import PROBE, Stream
from harness.measurements.wording import Wording
from harness.measurements.write_history import WriteHistory
from harness.timeline import Phase, Timeline


@dataclass(frozen=True, eq=False)
class Measurements:
    """All that the checks may look at, of one LUN on one initiator.

    `initiator` is that machine's name; `read_only` tells that the target refuses its writes.
    `processors` is None where the guests run elsewhere; `cut_short` says why the test ended
    before its time, if it did; `max_stall_s` is the longest stall accepted whatever the budget.
    `settings` are those before the first fault, `settings_after` those once I/O was over; None if
    that was not looked at. `machines` were meant to be watched; those in `existing` were not made
    by the run, and others may run programs there. `errors_forced` tells that I/O which hung was
    made to fail.
    `cable_ends` has two for each cable that the lab made itself, and none for other networks;
    `lab_disks` has those of a target that the lab made. `unplanned_disks` carried I/O of the map,
    too, and are in no other figure. `history` has every verified write, and every look at one.
    `wording` has the transport's words for readers, `disk_errors` what the initiator's kernel said
    of disks of the paths. Times are converted by the readings in `clocks`; `clock_looks` are less
    exact ones, between them. `traffic` has the links of the paths.
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
    unplanned_disks: tuple[UnplannedDisk, ...] = ()
    lun: str = "lun0"
    initiator: str = "initiator"
    read_only: bool = False
    history: WriteHistory | None = None
    wording: Wording = field(default_factory=Wording)
    disk_errors: tuple[DiskError, ...] = ()
    clock_looks: tuple[ClockReading, ...] = ()
    traffic: tuple[LinkTraffic, ...] = ()

    def phase(self, name: str) -> Phase | None:
        """The phase of that name, if the test had one."""
        return next((p for p in self.phases if p.name == name), None)

    @property
    def before(self) -> Phase | None:
        """The first phase that later ones are compared with; None if there is none."""
        return next((p for p in self.phases if p.settled), None)

    @property
    def probe(self) -> Stream | None:
        """The paced depth-1 probe."""
        return next((s for s in self.streams if s.name == PROBE), None)
