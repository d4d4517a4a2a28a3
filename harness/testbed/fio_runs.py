"""One fio for each map, side by side: one that hangs or gives up does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.errors import CutShort
from harness.machine import Machine
from harness.workload import FioRun, Job
from harness.workload.run import FOLDER


@dataclass(frozen=True)
class Load:
    """The jobs for one map: on which machine, and on which device file there.

    `lun` is the name of the LUN, which no other map of that machine has.
    """

    machine: Machine
    lun: str
    device: str
    jobs: Sequence[Job]


class FioRuns:
    """What runs on each map, by the map's name. Made by `started`.

    `ended_early` says why some no longer run, in the words of each.
    """

    def __init__(self, runs: Mapping[str, FioRun]) -> None:
        self.runs = runs
        self.ended_early: dict[str, str] = {}

    @classmethod
    @contextmanager
    def started(cls, loads: Mapping[str, Load], program: str) -> Iterator[FioRuns]:
        """Start each load, and make sure that all are gone at the end of the block.

        `loads` are by the names of the maps, `program` is fio's path or name.
        """
        with ExitStack() as stack:
            runs = {
                name: stack.enter_context(
                    FioRun.started(
                        load.machine,
                        load.device,
                        load.jobs,
                        folder=f"{FOLDER}/{load.lun}",
                        program=program,
                    )
                )
                for name, load in loads.items()
            }
            yield cls(runs)

    @property
    def running(self) -> bool:
        """Whether any does."""
        return any(run.running for run in self.runs.values())

    def require_running(self) -> None:
        """Note which ended early. Raises CutShort, with their own words, once none runs."""
        for name, run in self.runs.items():
            if name not in self.ended_early:
                try:
                    run.require_running()
                except CutShort as error:
                    self.ended_early[name] = error.message
        if len(self.ended_early) == len(self.runs):
            raise CutShort("; ".join(dict.fromkeys(self.ended_early.values())))

    def stop(self) -> None:
        """Ask each to end; it finishes what is outstanding and reports."""
        for run in self.runs.values():
            run.stop()
