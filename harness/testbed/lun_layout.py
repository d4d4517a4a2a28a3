"""How the part of a LUN that tests may use is divided, and the jobs that use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.config.model import WorkloadConfig
from harness.config.profiles import FAST, Profile
from harness.measurements import PROBE
from harness.topology import PlannedMap, Topology
from harness.units import KIB, MIB
from harness.workload import Area, Job, JobKind

_LONGEST_S = 1800.0  # jobs are stopped when a test is over; this ends them if nothing else does


# Small reads, since verified reads end after one pass: 4096 of them in 16 MiB last for 80 s.
_READ_SIZE = 4 * KIB
_FILL_SIZE = 64 * KIB
_RESERVED = _FILL_SIZE
_MARK = 4 * KIB
_LOAD_DEPTH = 8
# Seconds for each path in the longest test, with profile fast; and for what comes before and after.
_PER_PATH_S = 13
_AROUND_S = 20
# So many that what waited for 10 s without any path, and is then written at once, comes to no block
# twice: each stays until the sweep has seen it.
_STAYS_S = 12
# In all, so that the sweep can read it in a second.
_MOST_WRITTEN = 16 * MIB
# The longest wait of an I/O, in times that it takes to give up one path: that, and, where all paths
# are lost, the wait for the first to come back.
_WAITS = 4
# So few that each is written again every 3.2 s, also while a path is dead: a write that is stuck
# there and lands late would otherwise hit a block that was not written since.
_HOT_BLOCKS = 64
_HOT_DEPTH = 4
_HOT_PAUSE_S = 0.2
# From the seed of one map to that of the next. Seeds that are next to each other are in use: the
# probe has the next one, and benchmarks count theirs up.
_NEXT_SEED = 1009


@dataclass(frozen=True)
class Layout:
    """`read_area` is filled once with verifiable blocks; `write_area` belongs to the writes.

    `hot_area` belongs to those that come to few blocks again and again. What precedes them belongs
    to the marker of external LUNs (`preflight.marker`). All are those of the first part of a LUN;
    where several initiators write, each has a part of `part` bytes. `read_iops` and `write_iops`
    are the paces of the verified reads, and writes, of all maps together.
    """

    config: WorkloadConfig
    read_area: Area
    write_area: Area
    hot_area: Area
    read_iops: int
    write_iops: int
    part: int = 0

    @classmethod
    def of(
        cls,
        config: WorkloadConfig,
        maps: int = 1,
        writers: int = 1,
        paths: int = 1,
        stays_s: float = _STAYS_S,
    ) -> Layout:
        """A quarter to read; of the rest an eighth at most for hot blocks, and what writes need.

        Of several maps each has its share of all, as it has of the pace: so what is read lasts as
        long, and what is written stays as long. `writers` is the largest number of initiators that
        write to one LUN, `paths` the number of all paths: verified reads are slower where one pass
        over their area would not last until each path was lost in turn. Writes are slower where a
        block would not stay for `stays_s`.
        """
        part = config.region // writers // _FILL_SIZE * _FILL_SIZE
        read = Area(_RESERVED, config.region // 4 // maps // _FILL_SIZE * _FILL_SIZE)
        size = config.block_size
        first = -(-read.end // size) * size
        blocks = (part - first) // size
        hot = min(_power_of_two_in(max(_HOT_BLOCKS // maps, 1)), _power_of_two_in(blocks // 8))
        wanted = 2 * _power_of_two_in(max(max(config.write_iops // maps, 1) * _STAYS_S - 1, 1))
        most = max(_MOST_WRITTEN // maps // size, 1)
        cold = min(wanted, _power_of_two_in(min(blocks - hot, most)))
        lasts_s = _AROUND_S + paths * _PER_PATH_S
        return cls(
            config,
            read,
            Area(first, cold * size),
            Area(first + cold * size, hot * size),
            read_iops=_pace(config.read_iops, read.size // _READ_SIZE * maps, lasts_s),
            write_iops=_pace(config.write_iops, cold * maps, stays_s),
            part=part,
        )

    @classmethod
    def planned(cls, config: WorkloadConfig, topology: Topology, profile: Profile = FAST) -> Layout:
        """That of a testbed: one test loses each path of every initiator in turn."""
        writers = max(len(lun.writers) for lun in topology.luns)
        maps, paths = len(topology.maps), len(topology.paths)
        stays_s = _stays_s(profile)
        return cls.of(config, maps, writers=writers, paths=paths, stays_s=stays_s)

    def paces(self) -> dict[str, str]:
        """The paces in force, and the configured ones if those are others."""
        asked = {"reads": self.config.read_iops, "writes": self.config.write_iops}
        taken = {"reads": self.read_iops, "writes": self.write_iops}
        why = {
            "reads": "with that they would end too soon",
            "writes": "a block would be overwritten before it was looked at",
        }
        return {
            f"Verified {what}": f"{pace} a second"
            + (f" ({asked[what]} configured: {why[what]})" if pace < asked[what] else "")
            for what, pace in taken.items()
        }

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

    def kept_on(self, of: PlannedMap) -> tuple[Area, ...]:
        """What an initiator fills on a LUN, and what follows the marker: no test writes there."""
        ahead = of.part * self.part
        return (
            Area(_MARK, _RESERVED - _MARK),
            Area(self.read_area.offset + ahead, self.read_area.size),
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
        """Verified writes, verified reads and the probe side by side, until they are stopped.

        The writes are first and third: see `steady` jobs in `harness.workload.job`.
        """
        hot = (self.hot_writes(seconds, seed),) if self.hot_area.size else ()
        return (
            self.random_writes(seconds, seed),
            self.random_reads(seconds, seed),
            *hot,
            self.probe(seconds, seed),
        )

    def random_writes(self, seconds: float, seed: int) -> Job:
        """Paced, verified random writes; each block stays until all others were written."""
        config = self.config
        return Job(
            "write",
            JobKind.RANDOM_WRITE,
            self.write_area,
            config.block_size,
            # fio keeps no two writes to one block apart where it may come to any.
            min(config.depth, self.write_area.size // config.block_size),
            iops=self.write_iops,
            verified=True,
            seconds=seconds,
            seed=seed,
            steady=True,
        )

    def hot_writes(self, seconds: float, seed: int) -> Job:
        """Writes to few blocks, a batch at a time, so that each is soon written again."""
        return Job(
            "hot",
            JobKind.RANDOM_WRITE,
            self.hot_area,
            self.config.block_size,
            min(_HOT_DEPTH, self.hot_area.size // self.config.block_size),
            verified=True,
            seconds=seconds,
            seed=seed,
            steady=True,
            pause_s=_HOT_PAUSE_S,
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


def _stays_s(profile: Profile) -> float:
    """For how long a block has to stay, so that none is written twice after the longest wait."""
    return max(_STAYS_S, _WAITS * profile.gives_up_s)


def _pace(asked: int, blocks: int, lasts_s: float) -> int:
    """I/Os a second: so few that all of the blocks last for that time."""
    return max(1, min(asked, int(blocks / lasts_s)))


def _power_of_two_in(count: int) -> int:
    """The largest that is not more; 0 if there is none."""
    return 1 << (count.bit_length() - 1) if count > 0 else 0
