"""The first I/O of a testbed, which later reads verify."""

from __future__ import annotations

from harness.provision.step_titles import StepTitle
from harness.steps import Spent, attach, step
from harness.testbed.testbed import Testbed
from harness.topology import Role
from harness.workload import FioRun

_TIMEOUT_S = 300.0


def fill(testbed: Testbed) -> None:
    """Write the area that read jobs verify. Raises WorkloadError if there was any error."""
    with step(StepTitle.FIRST_IO, Spent.PROVISIONING):
        fio = FioRun.started(
            testbed.machine(Role.INITIATOR),
            testbed.initiator.device,
            [testbed.layout.fill()],
            program=testbed.config.initiator.fio,
        )
        with fio as run:
            result = run.finish(_TIMEOUT_S)
    attach("fio report of the first I/O", result.report_text, "application/json")
    result.require_clean()
