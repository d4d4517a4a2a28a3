"""One fio for each LUN, side by side: one that hangs or gives up does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from harness.errors import CutShort
from harness.machine import Machine
from harness.workload import FioRun, Job
from harness.workload.run import FOLDER


class FioRuns:
    """What runs on each LUN, by the LUN's name. Made by `started`.

    `ended_early` says why some no longer run, in the words of each.
    """

    def __init__(self, runs: Mapping[str, FioRun]) -> None:
        self.runs = runs
        self.ended_early: dict[str, str] = {}

    @classmethod
    @contextmanager
    def started(
        cls, machine: Machine, devices: Mapping[str, str], jobs: Sequence[Job], program: str
    ) -> Iterator[FioRuns]:
        """Start the jobs on each device, and make sure that all are gone at the end of the block.

        `devices` are the maps' files by the names of the LUNs, `program` is fio's path or name.
        """
        with ExitStack() as stack:
            runs = {
                lun: stack.enter_context(
                    FioRun.started(machine, device, jobs, folder=f"{FOLDER}/{lun}", program=program)
                )
                for lun, device in devices.items()
            }
            yield cls(runs)

    @property
    def running(self) -> bool:
        """Whether any does."""
        return any(run.running for run in self.runs.values())

    def require_running(self) -> None:
        """Note which ended early. Raises CutShort, with their own words, once none runs."""
        for lun, run in self.runs.items():
            if lun not in self.ended_early:
                try:
                    run.require_running()
                except CutShort as error:
                    self.ended_early[lun] = error.message
        if len(self.ended_early) == len(self.runs):
            raise CutShort("; ".join(dict.fromkeys(self.ended_early.values())))

    def stop(self) -> None:
        """Ask each to end; it finishes what is outstanding and reports."""
        for run in self.runs.values():
            run.stop()
