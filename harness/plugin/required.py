"""`--require`: one error before the first test, if the run would have to do without."""

from __future__ import annotations

import pytest

from harness.config import Config
from harness.errors import HarnessError, ReportError
from harness.lacking import Lacking, as_error
from harness.reporting.html import no_report, try_generator
from harness.steps import Spent, step


def refuse_contradiction(config: pytest.Config, loaded: Config) -> None:
    """Raise UsageError if a report is both required and refused."""
    if "report" in loaded.require and config.getoption("no_report"):
        raise pytest.UsageError("--no-report: a report is required (--require report)")


def refuse_unmet(loaded: Config, *, makes_report: bool, makes_testbeds: bool) -> None:
    """Raise UsageError that names everything that is required and that does not work here.

    It is tried: a machine is saved and restored, a guest runs under KVM, a report is rendered.
    The report only where this process `makes_report`; the others where it, or its workers on this
    host, `makes_testbeds`: a fleet's hosts are tried when they are prepared.
    """
    if not loaded.require:
        return
    found: list[Lacking] = []
    with step("Try what the run requires", Spent.PROVISIONING):
        if makes_report and "report" in loaded.require:
            try:
                try_generator()
            except ReportError as error:
                found.append(no_report(error))
        if makes_testbeds:
            from harness.provision.requirements import ask  # needs libvirt

            try:
                found += ask(loaded)
            except HarnessError as error:
                raise pytest.UsageError(str(error)) from None
    if found:
        raise pytest.UsageError("\n".join(str(as_error(one)) for one in found))
