"""How the region that tests may use is divided."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config, load
from harness.config.model import WorkloadConfig
from harness.config.profiles import STOCK
from harness.preflight import marker
from harness.testbed.lun_layout import Layout
from harness.topology import Topology, plan
from harness.units import KIB, MIB
from harness.workload import JobKind

CONFIGS = st.builds(
    WorkloadConfig,
    region=st.integers(16 * MIB, 1024 * MIB),
    block_size=st.integers(1, 1024).map(lambda n: n * 4 * KIB),
)


@given(CONFIGS, st.integers(0, 2**31))
def test_every_job_stays_in_the_region_in_whole_blocks(config: WorkloadConfig, seed: int) -> None:
    """And has something to do: to fio a size of zero means everything."""
    layout = Layout.of(config)
    for job in (layout.fill(), *layout.mixed(seed)):
        assert job.area.size >= job.block_size
        assert job.area.end <= config.region
        assert job.area.offset % (4 * KIB) == 0
        assert job.area.size % job.block_size == 0


@given(CONFIGS)
def test_only_one_job_writes_to_any_place(config: WorkloadConfig) -> None:
    """What is read was filled before and is never written again."""
    layout = Layout.of(config)
    fill, jobs = layout.fill(), layout.mixed(1)
    writers = sorted((job.area for job in jobs if job.kind.writes), key=lambda area: area.offset)
    assert writers
    for before, after in pairwise([fill.area, *writers]):
        assert after.offset >= before.end
    assert all(job.area == fill.area for job in jobs if not job.kind.writes)


@given(CONFIGS, st.integers(0, 2**31))
def test_no_job_touches_the_marker(config: WorkloadConfig, seed: int) -> None:
    """It says for ever whose LUN it is."""
    layout = Layout.of(config)
    for job in (layout.fill(), *layout.mixed(seed), layout.unpaced(JobKind.WRITE, 4 * KIB, seed)):
        assert job.area.offset >= marker.SIZE


@given(CONFIGS, st.sampled_from([1, 2, 4]))
def test_writes_that_waited_for_ten_seconds_come_to_no_block_twice(
    config: WorkloadConfig, luns: int
) -> None:
    """If the region is large enough; and the blocks are a power of two, as steady jobs need."""
    layout = Layout.of(config, luns)
    for job in layout.mixed(1):
        blocks = job.area.size // job.block_size
        assert not job.steady or blocks.bit_count() == 1
    blocks = layout.write_area.size // config.block_size * luns
    assert layout.write_iops == 1 or blocks / layout.write_iops >= 12


def test_steady_jobs_are_first_and_third() -> None:
    """For the others fio would write one block twice in a row."""
    jobs = Layout.of(WorkloadConfig()).mixed(1)
    assert [n for n, job in enumerate(jobs, start=1) if job.steady] == [1, 3]


def test_every_read_finds_a_header_of_its_own() -> None:
    """The fill puts one wherever a read may begin."""
    layout = Layout.of(WorkloadConfig())
    assert layout.fill().header_every == layout.random_reads(1, 1).block_size


def test_the_probe_is_one_io_at_a_time() -> None:
    """Fast enough to see ten milliseconds, and not verified, so that it never ends early."""
    probe = Layout.of(WorkloadConfig()).probe(1, 1)
    assert probe.depth == 1
    assert probe.iops is not None
    assert probe.iops >= 100
    assert not probe.verified


@given(st.integers(2, 16), st.integers(0, 2**31))
def test_each_map_has_a_seed_of_its_own(luns: int, seed: int) -> None:
    """Else all LUNs would get the same writes, and one could be taken for another."""
    maps = plan(Config.model_validate({"luns": [{"size": "64MiB"}] * luns})).maps
    layout = Layout.of(WorkloadConfig(), luns)
    jobs = (layout.fill(), *layout.mixed(seed))
    every = [layout.jobs_on(one, jobs) for one in maps]
    for same in zip(*every, strict=True):
        assert len({job.seed for job in same}) == luns
    assert every[0] == jobs


def test_one_map_has_the_seed_that_was_asked_for() -> None:
    (only,) = plan(Config()).maps
    layout = Layout.of(WorkloadConfig())
    assert layout.jobs_on(only, layout.mixed(7)) == layout.mixed(7)


def three_initiators() -> Topology:
    """On two networks, all with one LUN: six paths."""
    further = [
        {"name": name, "addresses": {"a": f"172.16.0.10{last}", "b": f"172.16.1.10{last}"}}
        for name, last in (("second", 2), ("third", 3))
    ]
    return plan(Config.model_validate({"initiators": further}))


READY = [
    (plan(load(None, {"topology": (name, "--topology")}).config), pace)
    for name, pace in (("two", 50), ("four", 50), ("eight", 33))
]


@pytest.mark.parametrize(("topology", "pace"), [*READY, (three_initiators(), 41)])
def test_verified_reads_last_until_each_path_was_lost_in_turn(
    topology: Topology, pace: int
) -> None:
    """fio ends them after one pass; on eight paths at 50 a second it would end after 82 s."""
    layout = Layout.planned(WorkloadConfig(), topology)
    maps = len(topology.maps)
    reads = layout.random_reads(1800, 1)
    assert reads.iops == pace
    most = maps * layout.read_area.size / 4096 / pace
    assert most > 13 * len(topology.paths)


def test_a_pace_that_was_lowered_is_told_with_the_configured_one() -> None:
    eight, _ = READY[-1]
    told = Layout.planned(WorkloadConfig(read_iops=60), eight).paces()
    assert (
        told["Verified reads"] == "33 a second (60 configured: with that they would end too soon)"
    )
    assert Layout.of(WorkloadConfig()).paces() == {
        "Verified reads": "50 a second",
        "Verified writes": "80 a second",
    }


def test_writes_are_slower_where_paths_are_given_up_late() -> None:
    """Else a block would be written again before the I/O that waited was seen."""
    two, _ = READY[0]
    layout = Layout.planned(WorkloadConfig(), two, STOCK)
    assert layout.paces()["Verified writes"].startswith("17 a second (80 configured: a block would")
    assert layout.random_writes(1, 1).iops == 17


def test_no_more_writes_are_under_way_than_there_are_blocks() -> None:
    """fio keeps two writes to one block apart only where it has a map of the blocks."""
    config = WorkloadConfig(region=16 * MIB, block_size=4 * MIB, depth=4)
    writes = Layout.of(config).random_writes(1, 1)
    assert writes.depth * config.block_size == writes.area.size
