"""What waited for a fault where no stream stood still: one I/O, or one look of the sweep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.analysis.breakdown import breakdown
from harness.analysis.stall import SWEEP, LongIo, Stall
from harness.checks import Verdict, judge, longest_io_within_budget, stall_within_budget
from harness.measurements import MAP, Found, LookLog, Measurements, WriteHistory, WriteLog
from harness.reporting.evidence import stall_markdown
from harness.reporting.stall_line import stall_line
from suites.selftest.unit.standstill import (
    at,
    found,
    layers,
    measured,
    taken_apart,
    watched,
)
from suites.selftest.unit.test_longest_io import with_io

NONE = np.empty(0, dtype=np.int64)


def swept(measurements: Measurements, *looks: tuple[float, float]) -> Measurements:
    """With looks through the map from when to when; each chunk has two rows, and is read once."""
    began, ended = (np.array([at(t) for look in looks for t in (look[n],) * 2]) for n in (0, 1))
    count = len(began)
    log = LookLog(
        (MAP, "a"),
        np.zeros(count, dtype=np.int64),
        np.arange(count, dtype=np.int64),
        np.full(count, int(Found.BLANK)),
        began,
        ended,
    )
    read = np.resize(np.array([8192, 0]), count)
    return replace(measurements, history=WriteHistory(WriteLog(NONE, NONE, NONE), log, read))


def test_one_io_that_waited_is_taken_apart() -> None:
    """No stream stalled, so that its stall tells nothing of the fault."""
    parts = taken_apart(with_io(measured(), 0.5, 3.05))
    assert (type(parts.wait), parts.wait.stream) == (LongIo, "write")
    assert layers(parts) == {
        "detection": 1.5,
        "session recovery": 1.0,
        "device mapper": 0.01,
        "resubmission": 0.04,
    }
    assert parts.adds_up


def test_a_stall_that_waited_is_taken_apart_first() -> None:
    """As long as it is not much shorter than a single I/O."""
    parts = taken_apart(with_io(measured((0.9, 3.05)), 0.5, 3.05))
    assert (type(parts.wait), parts.wait.seconds) == (Stall, 2.15)


def test_a_look_of_the_sweep_counts_as_an_io() -> None:
    """It may be all that waited: paths with a large read on them get no other I/O."""
    hung = watched(swept(measured(), (0.2, 0.25), (0.5, 3.05)))
    assert taken_apart(hung).wait == LongIo(SWEEP, at(0.5), at(3.05), 1)
    late = watched(swept(measured(), (0.5, 5.0)))
    finding = found(longest_io_within_budget(), late)
    assert finding.verdict is Verdict.FAIL
    assert "an I/O took 4.50 s (sweep)" in finding.message


def test_the_line_of_the_terminal_tells_of_it() -> None:
    """Beside the stall, which has the verdict."""
    hung = with_io(measured(), 0.5, 3.05)
    (finding,) = judge(hung, stall_within_budget()).findings
    assert stall_line("test", hung, finding.numbers) == (
        "test: 0.01 s of 4.00 s; one I/O 2.55 s: detection 1.50, session recovery 1.00, "
        "resubmission 0.04"
    )
    assert "**one I/O of write, while others of it went on**" in stall_markdown(hung)


def test_what_did_not_wait_is_not_taken_apart() -> None:
    """Paths that carried nothing were lost, and no I/O was on its way over them."""
    idle = measured()
    unused = tuple(
        replace(one, bytes_written=np.zeros_like(one.bytes_written)) if one.path == "a" else one
        for one in idle.counters
    )
    lost = replace(idle, counters=unused)
    assert breakdown(lost, lost.faults[0]) is None
    assert "No I/O waited for its paths." in stall_markdown(lost)
