"""The first I/O of a testbed, which later reads verify."""

from __future__ import annotations

from harness.provision.step_titles import StepTitle
from harness.steps import Spent, attach, step
from harness.testbed.fio_runs import FioRuns
from harness.testbed.testbed import Testbed
from harness.topology import Role

_TIMEOUT_S = 300.0


def fill(testbed: Testbed) -> None:
    """Write the area that read jobs verify, on every LUN. Raises WorkloadError for any error."""
    with step(StepTitle.FIRST_IO, Spent.PROVISIONING):
        fio = FioRuns.started(
            testbed.machine(Role.INITIATOR),
            {one.lun.name: one.device for one in testbed.maps},
            [testbed.layout.fill()],
            testbed.config.initiator.fio,
        )
        with fio as runs:
            results = {lun: run.finish(_TIMEOUT_S) for lun, run in runs.runs.items()}
    for lun, result in results.items():
        attach(f"fio report of the first I/O on {lun}", result.report_text, "application/json")
        result.require_clean()
