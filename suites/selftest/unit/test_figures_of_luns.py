"""Figures on several LUNs: those of all of them together, or none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.analysis.throughput import binned_rates
from harness.checks import Check, Judgement, judge_each, together
from harness.cli.app import app
from harness.config import load
from harness.errors import WorkloadError
from harness.faults import LinkDown
from harness.measurements import Measurements
from harness.testbed import Testbed
from harness.testbed.lun_layout import Layout
from harness.topology import plan
from harness.workload import JobKind
from suites.conformance import test_figures
from suites.conformance.tables import FIGURES
from suites.selftest.unit.synthetic_failover import failover
from suites.throughput.test_throughput import test_throughput_whole_and_degraded as delivered

CONFIG = load(None, {"topology": ("luns", "--topology")}).config


class Io:
    """I/O on four LUNs that is over."""

    measurements_by_lun: Mapping[str, Measurements]

    def __init__(self) -> None:
        names = [lun.name for lun in plan(CONFIG).luns]
        self.measurements_by_lun = {name: replace(failover(), lun=name) for name in names}

    @property
    def measurements(self) -> Measurements:
        raise WorkloadError("there are 4 LUNs")

    def wait_until_running(self) -> None: ...

    def run_for(self, *, seconds: float) -> None: ...

    def start_phase(self) -> None: ...


class Bed(Testbed):
    """A testbed with four LUNs and no machines; it writes down what it waits for."""

    def __init__(self) -> None:
        self.config = CONFIG
        self.topology = plan(CONFIG)
        self.layout = Layout.of(CONFIG.workload, 4)
        self.target = cast(Any, SimpleNamespace(kind="lio"))
        self.waited: list[tuple[str, ...]] = []

    def io(self, *_: object, **__: object) -> Any:
        return nullcontext(Io())

    def fault(self, *_: object) -> Any:
        return nullcontext()

    def without_path(self, name: str) -> Any:
        return nullcontext()

    def fail_over(self, *_: object, **__: object) -> None: ...

    def wait_for_all_but(self, lost: Collection[str], **_: object) -> Any:
        self.waited.append(tuple(lost))


class Judged:
    """Judges each LUN, and is content with whatever comes of it."""

    def __init__(self) -> None:
        self.luns: list[tuple[str, ...]] = []

    def __call__(self, measured: Mapping[str, Measurements], *checks: Check) -> Judgement:
        self.luns.append(tuple(measured))
        found = together(judge_each(measured, *checks).values())
        return cast(Judgement, Content(found))


class Content:
    def __init__(self, judgement: Judgement) -> None:
        self.findings = judgement.findings

    def require(self) -> None: ...


LUNS = tuple(lun.name for lun in plan(CONFIG).luns)


def test_throughput_is_that_of_all_luns_together() -> None:
    """On all paths, without one, and while every map has lost it."""
    bed, judged = Bed(), Judged()
    published: dict[str, Any] = {}
    publish = cast(Any, lambda _, figures: published.update(figures))
    delivered(bed, cast(Any, judged), publish, 1, JobKind.READ, 2**14)
    assert judged.luns == [LUNS] * 3
    assert bed.waited == [("b",), ()]
    one = failover()
    alone = binned_rates(one.streams, one.phases[-1])
    for rates in published.values():
        np.testing.assert_allclose(rates, 4 * alone)


def test_figures_of_several_luns_are_judged_and_not_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The table is of one."""
    monkeypatch.setattr(type(FIGURES), "note", lambda *_: pytest.fail("it was written down"))
    bed, judged = Bed(), Judged()
    test_figures.test_the_stall_when_a_path_is_lost(bed, cast(Any, judged), 1, LinkDown)
    request: Any = SimpleNamespace(node=SimpleNamespace(callspec=SimpleNamespace(id="x")))
    test_figures.test_what_all_paths_deliver(
        bed, cast(Any, judged), 1, JobKind.READ, 2**14, request
    )
    assert judged.luns == [LUNS] * 2


@pytest.mark.parametrize("what", ["stall", "clean", "overhead"])
def test_a_bench_of_one_lun_refuses_several_before_a_testbed_is_made(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than measure, and then have no measurements of the one."""

    def made(_: object) -> Any:
        pytest.fail("a testbed was made")

    monkeypatch.setattr("harness.provision.provisioner.provisioner", made)
    done = CliRunner().invoke(app, ["--quiet", "bench", what, "--topology", "luns"])
    assert done.exit_code
    assert "this measures one LUN, and the testbed has 4" in " ".join(done.output.split())
