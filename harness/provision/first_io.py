"""The first I/O of a testbed, which later reads verify."""

from __future__ import annotations

from harness.provision.step_titles import StepTitle
from harness.steps import Spent, attach, step
from harness.testbed.fio_runs import FioRuns, Load
from harness.testbed.testbed import Testbed

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
