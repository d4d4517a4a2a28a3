"""The disk of each path at each time: a path that comes back may have another one; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.measurements import Ints, PathCounters, PathStates, UnplannedDisk
from harness.observe import DiskSample, MapDisk, MapSample, Observation, Sample
from harness.observe.clock import Clock
from harness.transport.lun_devices import Look, LunDevices
from harness.transport.path_disk import PathDisk

_RUNNING = "running"  # SCSI device state, drivers/scsi/scsi_sysfs.c


@dataclass(frozen=True)
class PathDisks:
    """The disks of every path over one observation.

    `maps` and `numbers` have an entry a sample: the map, and the path by the number of each disk
    that was in it, which is that number itself for a disk of no path that was planned. `names` are
    the disks' names by their number: the kernel gives neither without the other.
    """

    samples: Sequence[Sample]
    maps: Sequence[MapSample]
    clock: Clock
    numbers: Sequence[dict[str, str]]
    names: dict[str, str]
    sessions: dict[str, str]

    @classmethod
    def of(cls, seen: Observation, name: str, paths: Sequence[PathDisk]) -> PathDisks:
        """The disks as they were seen in the map of that name.

        `paths` were there once, perhaps before another test.

        A path is where its session goes, so a disk of the same origin is the same path.
        """
        first = {path.device: path.path for path in paths}
        origins = {path.origin: path.path for path in paths if path.origin}
        sessions: dict[str, str] = {}
        names = {path.device: path.disk for path in paths}
        told: list[dict[str, str]] = []  # a sample: the paths by number, as far as it tells
        maps = [sample.map(name) for sample in seen.samples]
        for one in maps:
            now = {
                number: _owner(number, disk, first, origins)
                for number, disk in one.disks.items()
                if disk.origin or not disk.session  # else its session is going, and tells nothing
            }
            told.append(now)
            names |= {number: disk.name for number, disk in one.disks.items()}
            sessions |= {
                disk.session: now[number]
                for number, disk in one.disks.items()
                if disk.session and number in now
            }
        numbers = _filled(maps, told, first)
        return cls(seen.samples, maps, seen.clock, numbers, names, sessions)

    def lun_devices(self) -> LunDevices:
        """What the kernel called all of it."""
        looks = [
            Look(self.clock.to_host(sample.machine_ns), one.number, numbers)
            for sample, one, numbers in zip(self.samples, self.maps, self.numbers, strict=True)
        ]
        return LunDevices(looks, self.sessions)

    def disks(self, path: PathDisk) -> Iterator[tuple[Sample, dict[str, DiskSample]]]:
        """The disks of a path by name, in each sample that has any.

        One that died stays with its path while it is out of the map, until it is gone: then its
        name may go to a disk of somebody else.
        """
        return ((sample, disks) for sample, disks in self._looks(path) if disks)

    def _looks(self, path: PathDisk) -> Iterator[tuple[Sample, dict[str, DiskSample]]]:
        """The same of every sample: none where the path has no disk."""
        names: set[str] = set()
        for sample, numbers in zip(self.samples, self.numbers, strict=True):
            owners = {self.names[n]: path for n, path in numbers.items() if n in self.names}
            names = {name for name in names if name in sample.disks and name not in owners}
            names |= {name for name, owner in owners.items() if owner == path.path}
            yield sample, {name: sample.disks[name] for name in names if name in sample.disks}

    def counters(self, path: PathDisk) -> PathCounters:
        """Bytes that a path carried, over whichever disk: one that is made anew counts from 0.

        While it has no disk it carries nothing.
        """
        machine_ns: list[int] = []
        totals: list[Ints] = []
        gone = np.zeros(4, dtype=np.int64)  # what was carried by disks that are no more
        last: dict[str, Ints] = {}
        used: list[str] = []
        for sample, disks in self._looks(path):
            if not disks:
                if totals:
                    machine_ns.append(sample.machine_ns)
                    totals.append(totals[-1])
                continue
            used += disks
            now = {
                name: np.array(
                    [disk.bytes_read, disk.bytes_written, disk.completed, disk.took_ms],
                    dtype=np.int64,
                )
                for name, disk in disks.items()
            }
            for name, carried in last.items():
                if name not in now or np.any(now[name] < carried):
                    gone += carried
            last = now
            machine_ns.append(sample.machine_ns)
            totals.append(gone + sum(now.values()))
        columns = np.array(totals, dtype=np.int64).reshape(-1, 4)
        return PathCounters(
            path=path.path,
            disks=tuple(dict.fromkeys((path.disk, *used))),
            at_ns=self.clock.array_to_host(np.array(machine_ns, dtype=np.int64)),
            bytes_read=columns[:, 0],
            bytes_written=columns[:, 1],
            completed=columns[:, 2],
            took_ms=columns[:, 3],
        )

    def runs(self, path: PathDisk) -> Iterator[tuple[Sample, bool]]:
        """Whether any disk of a path ran, in each sample that has any."""
        for sample, disks in self.disks(path):
            yield sample, any(disk.state == _RUNNING for disk in disks.values())

    def unplanned(self) -> list[UnplannedDisk]:
        """The disks of the map that were on no planned path, or not known to be."""
        found: dict[str, UnplannedDisk] = {}
        for sample, numbers in zip(self.samples, self.numbers, strict=True):
            at_ns = self.clock.to_host(sample.machine_ns)
            for number in (number for number, owner in numbers.items() if owner == number):
                first_ns = found[number].start_ns if number in found else at_ns
                name = self.names.get(number, "")
                found[number] = UnplannedDisk(number, name, first_ns, at_ns)
        return list(found.values())

    def states(self, paths: Sequence[PathDisk]) -> list[PathStates]:
        """The state of every path in each sample; "missing" while it is not in the map.

        A path of which an old disk is in the map beside a new one is as good as the better one.
        """
        seen = []
        before: dict[str, str] = {}
        for sample, one, numbers in zip(self.samples, self.maps, self.numbers, strict=True):
            seen.append(
                PathStates(
                    self.clock.to_host(sample.machine_ns),
                    {p.path: _state(one, numbers, p.path) for p in paths},
                    _reserve(one, numbers, paths),
                    frozenset(path for _, path in numbers.items() - before.items()),
                )
            )
            before = numbers
        return seen


def _owner(number: str, disk: MapDisk, first: dict[str, str], origins: dict[str, str]) -> str:
    """The path of a disk, or its number if it is over a portal that was not planned."""
    if disk.origin and origins:
        return origins.get(disk.origin, number)
    return first.get(number, number)


def _filled(
    maps: Sequence[MapSample], told: Sequence[dict[str, str]], first: dict[str, str]
) -> list[dict[str, str]]:
    """The path of every disk in the map, a sample: as told last, else next, else as planned."""
    after: dict[str, str] = {}
    coming = []
    for now in reversed(told):
        after = after | now
        coming.append(after)
    known: dict[str, str] = {}
    filled = []
    for one, now, later in zip(maps, told, reversed(coming), strict=True):
        known |= now
        known = {number: path for number, path in known.items() if number in one.paths}
        filled.append({n: known.get(n) or later.get(n) or first.get(n) or n for n in one.paths})
    return filled


def _state(seen: MapSample, numbers: dict[str, str], path: str) -> str:
    states = [seen.paths[number] for number, owner in numbers.items() if owner == path]
    return min(states, default="missing")  # "active" comes before "failed"


def _reserve(
    seen: MapSample, numbers: dict[str, str], paths: Sequence[PathDisk]
) -> frozenset[str] | None:
    """The paths of which every disk is in reserve; None if no group was in use."""
    if seen.reserve is None:
        return None
    found = set()
    for path in paths:
        own = [number for number, owner in numbers.items() if owner == path.path]
        if own and seen.reserve.issuperset(own):
            found.add(path.path)
    return frozenset(found)
