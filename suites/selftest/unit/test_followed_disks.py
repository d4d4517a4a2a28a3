"""A path that comes back with another disk: the sweep looks over that one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.deadline import Deadline
from harness.errors import InitiatorError
from harness.machine import LocalMachine
from harness.measurements import MAP, Found
from harness.observe.sample import MapSample, Sample
from harness.testbed.lun_io import LunIo
from harness.testbed.sweeps import Sweeps
from harness.transport import PathDisk
from harness.units import KIB, MIB, NS_PER_S
from harness.workload import Area, Job, JobKind
from harness.workload.sweep import Sweep, Wanted
from suites.selftest.unit.fio_on_this_host import folder_for_direct_io

BLOCK = 16 * KIB
JOB = Job(
    *("write", JobKind.RANDOM_WRITE, Area(64 * KIB, 64 * BLOCK), BLOCK, 4, 40),
    verified=True,
    seconds=3.0,
    steady=True,
).marked()


@pytest.fixture
def machine() -> Iterator[LocalMachine]:
    one = LocalMachine("initiator")
    yield one
    one.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_for_direct_io() as path:
        (path / "disk").write_bytes(bytes(2 * MIB))
        (path / "old").write_bytes(b"")
        yield path


def test_a_path_is_looked_at_over_the_disk_that_it_has_by_now(
    machine: LocalMachine, folder: Path
) -> None:
    """Its old one answers no more."""
    places = {MAP: str(folder / "disk"), "a": str(folder / "old"), "b": str(folder / "old")}
    wanted = {"lun": Wanted(places, (JOB,), str(folder / "log"))}
    with Sweep.started(machine, wanted) as sweep:
        sweep.wait_until_ready(Deadline.after(20))
        sweep.look_over("lun", ["a", "b"])
        time.sleep(1)
        moved_ns = time.monotonic_ns()
        sweep.look_at("lun", "a", str(folder / "disk"))
        time.sleep(2)
        seen = sweep.finish()["lun"]
    assert seen.failure == ""
    after = seen.began_ns > moved_ns + NS_PER_S // 2
    for place, answered in ((1, True), (2, False)):
        before = seen.found[(seen.place == place) & (seen.began_ns < moved_ns)]
        assert len(before)
        assert Found.BLANK not in before
        assert (Found.BLANK in seen.found[(seen.place == place) & after]) is answered


class Told:
    """A sweep that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def look_over(self, name: str, paths: Sequence[str]) -> None:
        pass

    def look_at(self, *words: str) -> None:
        self.told.append(words)


FIRST = (PathDisk("a", "sda", "8:0"), PathDisk("b", "sdb", "8:16"))
BACK = PathDisk("b", "sdc", "8:32")


def sample(*numbers: str) -> Sample:
    seen = MapSample(dict.fromkeys(numbers, "active"), number="253:0")
    return Sample(0, {}, {"x": seen}, {}, {}, 0, 0)


def sweeps_of(sweep: Told, failure: Exception | None = None) -> Sweeps:
    """Of one map, whose second path has another disk by now."""

    def paths_in_use() -> dict[str, PathDisk]:
        if failure:
            raise failure
        return {"a": FIRST[0], "b": BACK}

    of = SimpleNamespace(
        planned=SimpleNamespace(name="lun", machine="initiator"),
        attachment=SimpleNamespace(map_name="x", paths_in_use=paths_in_use),
        paths=FIRST,
    )
    wanted = {"initiator": {"lun": cast(Any, None)}}
    return Sweeps({"lun": LunIo(cast(Any, of))}, wanted, {"initiator": cast(Any, sweep)})


@pytest.mark.parametrize(
    ("numbers", "failure", "told"),
    [
        (("8:0", "8:16"), None, []),
        (("8:0",), None, []),
        (("8:0", "8:32"), None, [("lun", "b", "/dev/sdc")]),
        (("8:0", "8:32"), InitiatorError("no answer"), []),
    ],
    ids=["the same", "one is away", "another", "not known which"],
)
def test_the_disks_of_a_map_are_followed(
    numbers: Sequence[str], failure: Exception | None, told: list[tuple[str, ...]]
) -> None:
    """Each is told once. If they are not to be found the sweep goes on as before."""
    sweep = Told()
    sweeps = sweeps_of(sweep, failure)
    observer: Any = lambda _: SimpleNamespace(latest=lambda _: sample(*numbers))  # noqa: E731
    sweeps.follow(observer)
    assert sweep.told == []  # nobody looks over paths yet
    sweeps.look_over_paths("initiator", sample("8:0", "8:16"))
    sweeps.follow(observer)
    sweeps.follow(observer)
    assert sweep.told == told


def test_a_programming_error_is_not_taken_for_a_disk_that_cannot_be_found() -> None:
    sweeps = sweeps_of(Told(), TypeError("x"))
    sweeps.look_over_paths("initiator", sample("8:0", "8:16"))
    with pytest.raises(TypeError):
        sweeps.follow(cast(Any, lambda _: SimpleNamespace(latest=lambda _: sample("8:32"))))
