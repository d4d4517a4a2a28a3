"""How the part of a LUN that tests may use is divided, and the jobs that use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.config.model import WorkloadConfig
from harness.measurements import PROBE
from harness.topology import PlannedMap, Topology
from harness.units import KIB
from harness.workload import Area, Job, JobKind

_LONGEST_S = 1800.0  # jobs are stopped when a test is over; this ends them if nothing else does


# Small reads, since verified reads end after one pass: 4096 of them in 16 MiB last for 80 s.
_READ_SIZE = 4 * KIB
_FILL_SIZE = 64 * KIB
_RESERVED = _FILL_SIZE
_LOAD_DEPTH = 8
# Seconds for each path in the longest test, with profile fast; and for what comes before and after.
_PER_PATH_S = 13
_AROUND_S = 20
# So few that each is written again every few seconds, also while a path is dead: a write that
# is stuck there and lands late would otherwise hit a block that was not written since.
_MOST_BLOCKS = 512
# From the seed of one map to that of the next. Seeds that are next to each other are in use: the
# probe has the next one, and benchmarks count theirs up.
_NEXT_SEED = 1009


@dataclass(frozen=True)
class Layout:
    """`read_area` is filled once with verifiable blocks; `write_area` belongs to the writes.

    What precedes them belongs to the marker of external LUNs (`preflight.marker`). Both are those
    of the first part of a LUN; where several initiators write, each has a part of `part` bytes.
    `read_iops` is the pace of the verified reads of all maps together.
    """

    config: WorkloadConfig
    read_area: Area
    write_area: Area
    read_iops: int
    part: int = 0

    @classmethod
    def of(cls, config: WorkloadConfig, maps: int = 1, writers: int = 1, paths: int = 1) -> Layout:
        """A quarter to read, as much of the rest as is rewritten often to write; whole blocks.

        Of several maps each has its share of both, as it has of the pace: so what is read lasts as
        long, and what is written is rewritten as often. `writers` is the largest number of
        initiators that write to one LUN, `paths` that of the paths of one: verified reads are
        slower where one pass over their area would not last until each path was lost in turn.
        """
        part = config.region // writers // _FILL_SIZE * _FILL_SIZE
        read = Area(_RESERVED, config.region // 4 // maps // _FILL_SIZE * _FILL_SIZE)
        writes = (part - read.end) // config.block_size * config.block_size
        writes = min(writes, _MOST_BLOCKS // maps * config.block_size)
        lasts_s = _AROUND_S + paths * _PER_PATH_S
        reads = max(1, min(config.read_iops, read.size // _READ_SIZE * maps // lasts_s))
        return cls(config, read, Area(read.end, writes), reads, part)

    @classmethod
    def planned(cls, config: WorkloadConfig, topology: Topology) -> Layout:
        """That of a testbed: one test loses each path of every initiator in turn."""
        writers = max(len(lun.writers) for lun in topology.luns)
        return cls.of(config, len(topology.maps), writers, len(topology.paths))

    def read_pace(self) -> str:
        """The pace of the verified reads in force, and the configured one if that is another."""
        asked = self.config.read_iops
        rest = f" ({asked} configured: with that they would end too soon)"
        return f"{self.read_iops} a second{rest if self.read_iops < asked else ''}"

    def jobs_on(self, of: PlannedMap, jobs: Sequence[Job]) -> tuple[Job, ...]:
        """What of these jobs runs on a map: in the initiator's own part, writes only if allowed.

        An initiator that only reads has the part of the LUN's first writer. Each map has a seed of
        its own: fio puts no name of a LUN into a block, and with one seed for all, the write of a
        number would go to the same place on every LUN. A block of another LUN would then pass for
        the LUN's own. fio verifies a block whatever seed it was written with.
        """
        ahead, further = of.part * self.part, of.number * _NEXT_SEED
        return tuple(
            replace(
                job,
                area=Area(job.area.offset + ahead, job.area.size),
                seed=job.seed + further,
            )
            for job in jobs
            if not (of.read_only and job.kind.writes)
        )

    def fill(self) -> Job:
        """Write the read area; every `_READ_SIZE` bytes can be verified by themselves."""
        return Job(
            "fill",
            JobKind.WRITE,
            self.read_area,
            _FILL_SIZE,
            depth=4,
            verified=True,
            header_every=_READ_SIZE,
        )

    def mixed(self, seed: int, seconds: float = _LONGEST_S) -> tuple[Job, ...]:
        """Verified writes, verified reads and the probe side by side, until they are stopped."""
        return (
            self.random_writes(seconds, seed),
            self.random_reads(seconds, seed),
            self.probe(seconds, seed),
        )

    def random_writes(self, seconds: float, seed: int) -> Job:
        """Paced, verified random writes."""
        config = self.config
        return Job(
            "write",
            JobKind.RANDOM_WRITE,
            self.write_area,
            config.block_size,
            config.depth,
            iops=config.write_iops,
            verified=True,
            seconds=seconds,
            seed=seed,
        )

    def random_reads(self, seconds: float, seed: int) -> Job:
        """Paced random reads, each block verified; they last for one pass over the area."""
        config = self.config
        return Job(
            "read",
            JobKind.RANDOM_READ,
            self.read_area,
            _READ_SIZE,
            config.depth,
            iops=self.read_iops,
            verified=True,
            seconds=seconds,
            seed=seed,
        )

    def unpaced(self, kind: JobKind, block_size: int, seed: int) -> Job:
        """One stream as fast as it goes, until it is stopped; for throughput."""
        area = self.write_area if kind.writes else self.read_area
        return Job("load", kind, area, block_size, _LOAD_DEPTH, seconds=_LONGEST_S, seed=seed)

    def probe(self, seconds: float, seed: int) -> Job:
        """The paced depth-1 probe that stalls are measured by."""
        return Job(
            PROBE,
            JobKind.RANDOM_READ,
            self.read_area,
            _READ_SIZE,
            depth=1,
            iops=self.config.probe_iops,
            seconds=seconds,
            seed=seed + 1,
        )
