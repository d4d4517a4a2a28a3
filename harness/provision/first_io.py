"""The first I/O of a testbed, which later reads verify."""

from __future__ import annotations

from harness.concurrency import side_by_side
from harness.provision.step_titles import StepTitle
from harness.steps import Spent, attach, step
from harness.testbed.fio_runs import FioRuns, Load
from harness.testbed.map_view import MapView
from harness.testbed.testbed import Testbed
from harness.workload.kept import canaries, keep

_TIMEOUT_S = 300.0


def fill(testbed: Testbed) -> None:
    """Write the area that read jobs verify, on every LUN. Raises WorkloadError for any error.

    Each initiator that writes to a LUN does so in its own part.
    """
    layout = testbed.layout
    with step(StepTitle.FIRST_IO, Spent.PROVISIONING):
        loads = {
            one.name: Load(testbed.machine(one.machine), one.lun.name, one.device, jobs)
            for one in testbed.maps
            if (jobs := layout.jobs_on(one.planned, [layout.fill()]))
        }
        with FioRuns.started(loads, testbed.config.initiator.fio) as runs:
            results = {name: run.finish(_TIMEOUT_S) for name, run in runs.runs.items()}
    for name, result in results.items():
        attach(f"fio report of the first I/O on {name}", result.report_text, "application/json")
        result.require_clean()


def note_what_stays(testbed: Testbed) -> None:
    """Note what was filled, and what is elsewhere on the LUNs: all of it must stay as it is."""
    with step("Note what nobody writes to from now on", Spent.PROVISIONING):
        side_by_side(*((lambda one=one: _keep(testbed, one)) for one in testbed.maps))


def _keep(testbed: Testbed, of: MapView) -> None:
    machine, layout = testbed.machine(of.machine), testbed.layout
    size = int(machine.run(["blockdev", "--getsize64", of.device]).stdout)
    areas = (*layout.kept_on(of.planned), *canaries(size, testbed.config.workload.region))
    keep(machine, of.device, of.lun.name, areas)
