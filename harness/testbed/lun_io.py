"""What becomes of the I/O on one map, while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from harness.machine import Machine
from harness.measurements import PlannedSession, SessionSettings
from harness.observe import MapSample, Sample
from harness.testbed.fio_runs import Load
from harness.testbed.protocols import Map
from harness.testbed.read_back import Reading
from harness.transport import PathDisk
from harness.workload import Job
from harness.workload.sweep import Sightings

_Session = TypeVar("_Session", PlannedSession, SessionSettings)


@dataclass
class LunIo:
    """`jobs` are those that run on the map.

    `cut_short` says why the I/O on this LUN ended early, though that on others may have gone on.

    `errors_forced`: it hung, and was made to fail. `reading` is what was read back, if it was, and
    `sightings` what the sweep saw, if there was one.
    """

    map: Map
    jobs: tuple[Job, ...] = ()
    cut_short: str = ""
    errors_forced: bool = False
    reading: Reading | None = None
    sightings: Sightings | None = None

    @property
    def name(self) -> str:
        """The name of the map."""
        return self.map.planned.name

    @property
    def machine(self) -> str:
        """The initiator's name."""
        return self.map.planned.machine

    def load(self, machine: Machine) -> Load:
        """What is to run on that machine, which is the initiator's."""
        planned = self.map.planned
        return Load(machine, planned.lun.name, self.map.attachment.device, self.jobs)

    def note_cut_short(self, why: str) -> None:
        """One more reason."""
        self.cut_short = joined(self.cut_short, why)

    def seen(self, sample: Sample) -> MapSample:
        """The LUN's map in a sample."""
        return sample.map(self.map.attachment.map_name)

    def active(self, sample: Sample) -> list[PathDisk]:
        """The paths that are active by the disks that they had when the testbed was made ready."""
        states = self.seen(sample).paths
        return [path for path in self.map.paths if states.get(path.device) == "active"]

    def in_use(self, sample: Sample) -> list[str]:
        """The names of the active paths in groups that are in use."""
        reserve = self.seen(sample).reserve or frozenset()
        return [path.path for path in self.active(sample) if path.device not in reserve]


def joined(*texts: str) -> str:
    """Those that are not empty, as one text."""
    return "; ".join(filter(None, texts))


def with_targets(iqns: Collection[str], sessions: Iterable[_Session]) -> tuple[_Session, ...]:
    """The sessions with these targets. A path has one with each target, and a LUN is in one."""
    return tuple(one for one in sessions if one.target in iqns)
