"""What the paths deliver: all of them, one less, and while some are dead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from harness.analysis.throughput import Rates, binned_rates
from harness.checks import accounting_agrees, kernel_sound, lab_sound, no_io_errors
from harness.faults import Fault
from harness.plugin import Judge, PublishThroughput
from harness.testbed import Testbed
from harness.units import KIB
from harness.workload import JobKind

SETTLING_S = 1
MEASURED_S = 5

SEQUENTIAL, RANDOM = 128 * KIB, 16 * KIB


@pytest.mark.parametrize(
    ("kind", "block_size"),
    [
        pytest.param(JobKind.READ, SEQUENTIAL, id="sequential-read"),
        pytest.param(JobKind.WRITE, SEQUENTIAL, id="sequential-write"),
        pytest.param(JobKind.RANDOM_READ, RANDOM, id="random-read"),
        pytest.param(JobKind.RANDOM_WRITE, RANDOM, id="random-write"),
    ],
)
def test_throughput_whole_and_degraded(
    testbed: Testbed,
    judge: Judge,
    publish_throughput: PublishThroughput,
    seed: int,
    kind: JobKind,
    block_size: int,
) -> None:
    """I/O goes without an error on all paths, on one path less, and while a path is dead."""
    spare = testbed.topology.paths[-1].name
    loss = testbed.least_loss_of(spare)
    conditions: dict[str, AbstractContextManager[None]] = {
        "all paths": nullcontext(),
        f"without path {spare}": testbed.without_path(spare),
        f"during {loss.name}": _lost(testbed, loss),
    }
    figures: dict[str, Rates] = {}
    judgements = []
    for name, condition in conditions.items():
        with condition, testbed.io([testbed.layout.unpaced(kind, block_size, seed)]) as io:
            io.wait_until_running()
            io.run_for(seconds=SETTLING_S)
            io.start_phase()
            io.run_for(seconds=MEASURED_S)
        measured = io.measurements_by_lun
        streams = [stream for one in measured.values() for stream in one.streams]
        # The LUNs have their phases in common.
        figures[name] = binned_rates(streams, next(iter(measured.values())).phases[-1])
        judgements.append(
            judge(
                measured,
                no_io_errors(),
                accounting_agrees(within=0.05),
                kernel_sound(),
                *lab_sound(),
            )
        )
    publish_throughput(f"{kind}, {block_size // KIB} KiB blocks", figures)
    for judgement in judgements:
        judgement.require()


@contextmanager
def _lost(testbed: Testbed, loss: Fault) -> Iterator[None]:
    """Some paths are dead and the maps have noticed."""
    with testbed.fault(loss):
        testbed.wait_for_all_but(loss.hits(testbed.topology))
        yield
    testbed.wait_for_all_but(())
