"""What is watched on a machine, and what was seen of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.measurements import ClockReading, KernelLog
from harness.observe.clock import Clock

_SECTOR = 512


@dataclass(frozen=True)
class Watch:
    """What a machine's samples shall hold: disks by name, maps by name, NICs by name.

    The maps' disks are watched even if they are not named. Into `cables`, by the names of their
    NICs, a frame is sent before each sample. `at_least_per_s` samples a second are promised.
    """

    disks: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    nics: tuple[str, ...] = ()
    cables: tuple[str, ...] = ()
    at_least_per_s: float = 10.0


@dataclass(frozen=True)
class DiskSample:
    """Bytes and I/Os that a disk has carried so far, I/Os that wait, and its SCSI state.

    `state` is "running", "transport-offline", …, and empty for a disk that is not SCSI. `took_ms`
    is the time that its reads and writes took, all together.
    """

    bytes_read: int
    bytes_written: int
    completed: int
    in_flight: int
    state: str
    took_ms: int = 0


@dataclass(frozen=True)
class NicSample:
    """What a NIC has sent, received and dropped so far; the observer has sent `beats` of it."""

    frames_sent: int
    frames_received: int
    bytes_sent: int
    bytes_received: int
    dropped_sending: int
    dropped_receiving: int
    beats: int
    carrier_changes: int


@dataclass(frozen=True)
class MapDisk:
    """A disk of the map. `session` ("session1") and `origin` are "" if it is local.

    `origin` is where its session was made to, and by which interface: "172.16.0.1:3260,default".
    """

    name: str
    session: str
    origin: str


@dataclass(frozen=True)
class MapSample:
    """One look at a map: the states of its paths by device number.

    Those in `reserve` are in groups that are not in use; it is None if no group is in use. `number`
    is the map's own ("253:0"), "" if there is no map; `disks` says what its disks are by number, in
    some of the samples.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    reserve: frozenset[str] | None = None
    number: str = ""
    disks: Mapping[str, MapDisk] = field(default_factory=dict)

    def count_paths(self, state: str) -> int:
        """Paths in that state ("active", "failed")."""
        return sum(1 for s in self.paths.values() if s == state)


@dataclass(frozen=True)
class Sample:
    """One look at a machine, at `machine_ns` of its own clock.

    `maps` has those that are watched, by name. `wall_ahead_ns` is its wall clock minus that,
    `cpu_ns` the processor time that looking has taken since the resident program began.
    """

    machine_ns: int
    disks: dict[str, DiskSample]
    maps: Mapping[str, MapSample]
    carriers: dict[str, bool]
    nics: dict[str, NicSample]
    wall_ahead_ns: int
    cpu_ns: int

    def map(self, name: str) -> MapSample:
        """The map of that name; one without paths if it is not watched."""
        return self.maps.get(name, MapSample())

    def carried(self, disk: str) -> int:
        """Bytes that a disk has carried so far; 0 if it is not there."""
        seen = self.disks.get(disk)
        return seen.bytes_read + seen.bytes_written if seen else 0

    def written(self, disk: str) -> int:
        """Bytes that were written to a disk so far; 0 if it is not there."""
        seen = self.disks.get(disk)
        return seen.bytes_written if seen else 0

    def count_paths(self, state: str) -> int:
        """Paths in that state, of the map that has the fewest of them; 0 without any map."""
        return min((one.count_paths(state) for one in self.maps.values()), default=0)


@dataclass(frozen=True)
class Observation:
    """What was seen of a machine between two points in time, on the host's clock.

    `wanted_per_s` samples a second were asked for. `marks` were written into its kernel log at
    the beginning and the end; `died` says why the observer could not watch to the end, if so.
    `clock_looks` are quick readings of the machine's clock between those of `clock`.
    """

    machine: str
    clock: Clock
    samples: tuple[Sample, ...]
    kernel_log: KernelLog
    marks: tuple[str, str]
    wanted_per_s: float = 10.0
    died: str = ""
    clock_looks: tuple[ClockReading, ...] = ()


@dataclass(frozen=True)
class MapProbe:
    """How a transport looks at maps: its part of the resident program, and how to read its words.

    `parse` takes what a sample tells of one map: `status`, `number` and `where`.
    """

    source: str
    parse: Callable[[Mapping[str, Any]], MapSample]


NO_MAPS = MapProbe("", lambda _: MapSample())


def parse_sample(message: dict[str, Any], maps: MapProbe = NO_MAPS) -> Sample:
    """Parse a message of the resident program that has the shape of a sample."""
    return Sample(
        machine_ns=message["sample"],
        disks={name: _disk(*texts) for name, texts in message["disks"].items() if texts[0]},
        maps={name: maps.parse(told) for name, told in message["maps"].items()},
        carriers={nic: up == "1" for nic, up in message["carriers"].items()},
        nics={
            nic: _nic(counts, message["beats"].get(nic, 0), message["changes"].get(nic))
            for nic, counts in message["nics"].items()
        },
        wall_ahead_ns=message["ahead"],
        cpu_ns=message["cpu"],
    )


def _disk(stat: str, state: str) -> DiskSample:
    """Parse /sys/block/*/stat, which counts in sectors whatever the device's block size is.

    Source: Documentation/block/stat.rst in the kernel.
    """
    counts = [int(count) for count in stat.split()]
    return DiskSample(
        bytes_read=counts[2] * _SECTOR,
        bytes_written=counts[6] * _SECTOR,
        # Reads and writes, then discards and flushes, which older kernels do not count.
        completed=counts[0] + counts[4] + sum(counts[11:12]) + sum(counts[15:16]),
        in_flight=counts[8],
        state=state,
        took_ms=counts[3] + counts[7],
    )


def _nic(counts: str, beats: int, changes: str | None) -> NicSample:
    """Parse a line of /proc/net/dev, without the NIC's name.

    Received: bytes, packets, errs, drop, fifo, frame, compressed, multicast. Sent: bytes, packets,
    errs, drop, fifo, colls, carrier, compressed. Source: dev_seq_printf_stats in the kernel's
    net/core/net-procfs.c; `drop` has the frames that the kernel missed, too.
    """
    numbers = [int(number) for number in counts.split()]
    return NicSample(
        frames_sent=numbers[9],
        frames_received=numbers[1],
        bytes_sent=numbers[8],
        bytes_received=numbers[0],
        dropped_sending=numbers[10] + numbers[11],
        dropped_receiving=numbers[2] + numbers[3],
        beats=beats,
        carrier_changes=int(changes or 0),
    )
