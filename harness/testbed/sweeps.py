"""One sweep for each map: what is written there is looked at while the I/O goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from harness.concurrency import side_by_side
from harness.deadline import Deadline
from harness.machine import Machine
from harness.measurements import MAP
from harness.observe import Sample
from harness.testbed.lun_io import LunIo
from harness.testbed.protocols import Map
from harness.units import KIB
from harness.workload.run import FOLDER
from harness.workload.sweep import Sweep, Wanted, swept

# Of the load on a path, before I/O counts as running there.
_FIRST_CARRIED = 64 * KIB
_FIRST_WRITTEN = 16 * KIB


class Sweeps:
    """Those of all maps, by the map's name; a map where nothing can be recognised has none."""

    def __init__(self, luns: Mapping[str, LunIo], sweeps: Mapping[str, Sweep]) -> None:
        self._luns = luns
        self._sweeps = sweeps
        self._over_paths: set[str] = set()

    @classmethod
    @contextmanager
    def started(
        cls, machine: Callable[[str], Machine], luns: Mapping[str, LunIo]
    ) -> Iterator[Sweeps]:
        """Start to look at every map, and make sure that it ends with the block."""
        with ExitStack() as stack:
            sweeps = {}
            for name, one in luns.items():
                if jobs := swept(one.jobs):
                    wanted = Wanted(_places(one.map), jobs)
                    folder = f"{FOLDER}/{one.map.planned.lun.name}"
                    started = Sweep.started(machine(one.machine), wanted, folder)
                    sweeps[name] = stack.enter_context(started)
            yield cls(luns, sweeps)

    def wait_until_ready(self, within_s: float) -> None:
        """Wait until every map is looked at. One that never is leaves its writes unproven."""
        deadline = Deadline.after(within_s)
        for sweep in self._sweeps.values():
            sweep.wait_until_ready(deadline)

    def look_over_paths(self, initiator: str, sample: Sample) -> None:
        """Look over the paths of its maps that are in use, too; only the first time."""
        for name, sweep in self._sweeps.items():
            of = self._luns[name]
            if of.machine == initiator and name not in self._over_paths:
                self._over_paths.add(name)
                sweep.look_over(of.in_use(sample))

    def load_began(self, name: str, disk: str, first: Sample, now: Sample) -> bool:
        """Whether the load on a map runs over a disk by now; what a sweep reads there is none."""
        if name in self._sweeps:
            return now.written(disk) - first.written(disk) >= _FIRST_WRITTEN
        return now.carried(disk) - first.carried(disk) >= _FIRST_CARRIED

    def finish(self) -> None:
        """End them, and leave what each saw with its map."""
        seen = side_by_side(*(sweep.finish for sweep in self._sweeps.values()))
        for name, sightings in zip(self._sweeps, seen, strict=True):
            self._luns[name].sightings = sightings


def _places(of: Map) -> dict[str, str]:
    return {MAP: of.attachment.device} | {path.path: f"/dev/{path.disk}" for path in of.paths}
