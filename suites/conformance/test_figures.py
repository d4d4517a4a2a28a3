"""The figures of each kind, side by side: measured, judged, and then written down."""

from __future__ import annotations

import pytest

from harness.analysis.throughput import Spread, binned_rates
from harness.checks import no_io_errors, promise_kept
from harness.faults import LinkDown, SilentDrop, losses
from harness.plugin import Judge
from harness.testbed import Testbed
from harness.units import KIB
from harness.workload import JobKind
from suites.conformance.tables import FIGURES


@pytest.mark.parametrize("kind", [LinkDown, SilentDrop])
def test_the_stall_when_a_path_is_lost(
    testbed: Testbed, judge: Judge, seed: int, kind: type[LinkDown | SilentDrop]
) -> None:
    """I/O stalls within its budget when a path is lost; the stall is noted."""
    every = [one for one in losses(testbed.topology, lambda _: True) if isinstance(one, kind)]
    if not every:
        pytest.skip(f"every {kind.__name__} here would take all paths")
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=3)
        testbed.fail_over(every[0], during_s=3, after_s=3)
    judgement = judge(io.measurements_by_lun, *promise_kept())
    judgement.require()
    stalls = [f.figures["stall"] for f in judgement.findings if "stall" in f.figures]
    _note(testbed, f"stall, {kind.__name__}", "; ".join(stalls))


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (JobKind.READ, 128 * KIB),
        (JobKind.WRITE, 128 * KIB),
        (JobKind.RANDOM_READ, 16 * KIB),
        (JobKind.RANDOM_WRITE, 16 * KIB),
    ],
    ids=["sequential read", "sequential write", "random read", "random write"],
)
def test_what_all_paths_deliver(
    testbed: Testbed,
    judge: Judge,
    seed: int,
    kind: JobKind,
    size: int,
    request: pytest.FixtureRequest,
) -> None:
    """One stream goes as fast as all paths carry it for five seconds, without an error."""
    with testbed.io([testbed.layout.unpaced(kind, size, seed)]) as io:
        io.wait_until_running()
        io.run_for(seconds=1)
        io.start_phase()
        io.run_for(seconds=5)
    measured = io.measurements_by_lun
    judge(measured, no_io_errors()).require()
    streams = [stream for one in measured.values() for stream in one.streams]
    # The LUNs have their phases in common.
    rates = binned_rates(streams, next(iter(measured.values())).phases[-1])
    column = request.node.callspec.id
    _note(testbed, column, f"{Spread.of(rates).median:.1f} MiB/s")


def _note(testbed: Testbed, column: str, text: str) -> None:
    """The table is of one LUN with two paths. An array's figures are in its report."""
    topology = testbed.topology
    if testbed.target.kind == "external" or (len(topology.paths), len(topology.luns)) != (2, 1):
        return
    environment = testbed.environment
    on = f"{environment['Acceleration'].split()[0]}, {environment['Guest kernel']}"
    FIGURES.note(testbed.target.kind, {column: text, "measured on": on})
