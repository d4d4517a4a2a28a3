"""What is written to the maps is looked at while the I/O goes on: by one program an initiator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from harness.concurrency import side_by_side
from harness.deadline import Deadline
from harness.errors import HarnessError, defects
from harness.machine import Machine
from harness.measurements import MAP
from harness.observe import Observer, Sample
from harness.steps import attach
from harness.testbed.lun_io import LunIo
from harness.testbed.protocols import Map
from harness.topology import called
from harness.units import KIB
from harness.workload.run import FOLDER
from harness.workload.sweep import Sweep, Wanted, swept

# Of the load on a path, before I/O counts as running there.
_FIRST_CARRIED = 64 * KIB
_FIRST_WRITTEN = 16 * KIB
_LATEST_S = 15.0  # a machine that is busy with what comes back


class Sweeps:
    """The programs by their initiators. Of a map where nothing can be recognised none is seen."""

    def __init__(
        self,
        luns: Mapping[str, LunIo],
        wanted: Mapping[str, Mapping[str, Wanted]],
        sweeps: Mapping[str, Sweep],
    ) -> None:
        self._luns = luns
        self._wanted = wanted
        self._sweeps = sweeps
        self._over_paths: set[str] = set()
        self._disks = {
            name: {path.path: path for path in luns[name].map.paths}
            for maps in wanted.values()
            for name in maps
        }

    @classmethod
    @contextmanager
    def started(
        cls, machine: Callable[[str], Machine], luns: Mapping[str, LunIo]
    ) -> Iterator[Sweeps]:
        """Start to look at every map, and make sure that it ends with the block.

        `luns` are by the maps' names.
        """
        wanted: dict[str, dict[str, Wanted]] = {}
        for name, one in luns.items():
            if jobs := swept(one.jobs):
                log = f"{FOLDER}/{one.map.planned.lun.name}/sweep.log"
                wanted.setdefault(one.machine, {})[name] = Wanted(_places(one.map), jobs, log)
        with ExitStack() as stack:
            sweeps = {
                initiator: stack.enter_context(Sweep.started(machine(initiator), maps))
                for initiator, maps in wanted.items()
            }
            yield cls(luns, wanted, sweeps)

    def wait_until_ready(self, within_s: float) -> None:
        """Wait until every map is looked at. One that never is leaves its writes unproven."""
        deadline = Deadline.after(within_s)
        for sweep in self._sweeps.values():
            sweep.wait_until_ready(deadline)

    def look_over_paths(self, initiator: str, sample: Sample) -> None:
        """Look over the paths of its maps that are in use, too; only the first time."""
        if initiator in self._sweeps and initiator not in self._over_paths:
            self._over_paths.add(initiator)
            for name in self._wanted[initiator]:
                self._sweeps[initiator].look_over(name, self._luns[name].in_use(sample))

    def follow(self, observer: Callable[[str], Observer]) -> None:
        """Look over the disks that the paths have by now, where a map has others than before.

        If that cannot be seen nothing more is seen over those paths, and *data intact* says so.
        """
        for initiator in self._over_paths:
            try:
                self._follow(initiator, observer(initiator).latest(_LATEST_S))
            except HarnessError as error:
                if defects(error):
                    raise
                attach(f"disks of {called(initiator)} not looked for", str(error))

    def _follow(self, initiator: str, sample: Sample) -> None:
        for name in self._wanted[initiator]:
            of, known = self._luns[name], self._disks[name]
            if of.seen(sample).paths.keys() <= {disk.device for disk in known.values()}:
                continue
            for path, disk in of.map.attachment.paths_in_use().items():
                if known[path].device != disk.device:
                    known[path] = disk
                    self._sweeps[initiator].look_at(name, path, f"/dev/{disk.disk}")

    def load_began(self, name: str, disk: str, first: Sample, now: Sample) -> bool:
        """Whether the load on a map runs over a disk by now; what a sweep reads there is none."""
        if any(name in maps for maps in self._wanted.values()):
            return now.written(disk) - first.written(disk) >= _FIRST_WRITTEN
        return now.carried(disk) - first.carried(disk) >= _FIRST_CARRIED

    def finish(self) -> None:
        """End them, and leave what each saw with its maps."""
        for seen in side_by_side(*(sweep.finish for sweep in self._sweeps.values())):
            for name, sightings in seen.items():
                self._luns[name].sightings = sightings


def _places(of: Map) -> dict[str, str]:
    return {MAP: of.attachment.device} | {path.path: f"/dev/{path.disk}" for path in of.paths}
