"""A single I/O that takes too long, while the others of its stream go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.stall import longest_io
from harness.checks import (
    Verdict,
    longest_io_within_budget,
    no_io_beyond,
    no_stall_beyond,
    stall_within_budget,
)
from harness.measurements import CompletionLog, Measurements, Stream
from harness.timeline import Timeline
from suites.selftest.unit.standstill import (
    FAILED,
    LOSS,
    REINSTATED,
    RETURN,
    Seen,
    at,
    event,
    found,
    measured,
    stream,
    watched,
)

COLUMNS = ("at_ns", "latency_ns", "offset", "size", "is_write")


def with_io(measurements: Measurements, start_s: float, end_s: float) -> Measurements:
    """And one I/O of another stream, whose others take 10 ms each."""
    usual = stream().completions
    added = {
        "at_ns": at(end_s),
        "latency_ns": at(end_s) - at(start_s),
        "offset": 0,
        "size": 0,
        "is_write": False,
    }
    columns = {name: np.append(getattr(usual, name), value) for name, value in added.items()}
    log = CompletionLog(**columns, resolution_ns=1)
    write = Stream("write", 4, True, log, measurements.streams[0].errors, reported=len(log))
    return replace(measurements, streams=(*measurements.streams, write))


def test_the_longest_io_is_from_submission_to_completion() -> None:
    """And is no stall: others complete meanwhile."""
    found = longest_io(with_io(measured(), 5, 7.8).streams[1].completions, "write")
    assert found is not None
    assert (found.stream, found.start_ns, found.end_ns) == ("write", at(5), at(7.8))
    nothing = stream().completions
    empty = {name: getattr(nothing, name)[:0] for name in COLUMNS}
    assert longest_io(CompletionLog(**empty, resolution_ns=1), "write") is None


@pytest.mark.parametrize(
    ("start_s", "end_s", "when"),
    [
        (-2.5, -0.6, "before any fault"),
        (-2.0, 1.0, "when LinkDown(a) was injected"),
        (0.5, 4.7, "in LinkDown(a)"),
        (5.0, 7.8, "in LinkDown(a), while no path failed"),
        (18.0, 20.8, "after LinkDown(a)"),
    ],
)
def test_one_io_that_hangs_while_others_go_on_fails(
    start_s: float, end_s: float, when: str
) -> None:
    """Whenever it was; it has the budget only if a path was given up while it waited."""
    hanging = watched(with_io(measured((0, 3.05)), start_s, end_s))
    assert found(stall_within_budget(), hanging).verdict is Verdict.PASS
    finding = found(longest_io_within_budget(), hanging)
    assert finding.verdict is Verdict.FAIL, finding.message
    assert f" s (write) {when}, " in finding.message
    assert finding.message.startswith("an I/O took ")


def test_an_io_that_waits_until_its_path_is_given_up_has_the_budget() -> None:
    """Submitted just before the fault, and sent again over the other path."""
    finding = found(longest_io_within_budget(), watched(with_io(measured((0, 3.05)), -0.3, 3.5)))
    assert finding.verdict is Verdict.PASS, finding.message
    assert finding.numbers["longest_io_s"] == pytest.approx(3.8)
    assert finding.numbers["budget_s"] == 4


def test_an_io_that_meets_two_losses_one_after_the_other_has_a_budget_for_each() -> None:
    """It was sent again over a path that was lost next; one that met a single loss has one."""
    twice = measured((0, 3.05), (4, 7.05))
    (fault,) = twice.faults
    events = Timeline.of([*twice.timeline, event(7.0, FAILED, "2")])
    twice = replace(twice, faults=(replace(fault, paths=("a", "b")),), timeline=events)
    both = watched(with_io(twice, -0.3, 7.1))
    finding = found(longest_io_within_budget(), both)
    assert finding.verdict is Verdict.PASS, finding.message
    assert finding.numbers["budget_s"] == 8
    one = watched(with_io(with_io(twice, -0.3, 7.1), 2.9, 7.1))
    finding = found(longest_io_within_budget(), one)
    assert finding.verdict is Verdict.PASS, finding.message
    hanging = watched(with_io(with_io(twice, -0.3, 7.1), 3.5, 7.8))
    finding = found(longest_io_within_budget(), hanging)
    assert finding.verdict is Verdict.FAIL
    assert finding.message == (
        "an I/O took 4.30 s (write) in LinkDown(a), 300 ms beyond the budget of 4 s"
    )


def test_with_no_path_left_an_io_waits_until_one_is_back() -> None:
    """The outage counts, and max_stall only from healing on."""
    lost = watched(with_io(measured((0, 17.1), io_stops=True, carries_from=17.1), -0.5, 17.2))
    assert found(longest_io_within_budget(), lost).verdict is Verdict.PASS
    assert found(longest_io_within_budget(), replace(lost, max_stall_s=3)).verdict is Verdict.FAIL
    assert found(longest_io_within_budget(), replace(lost, max_stall_s=4)).verdict is Verdict.PASS


def test_with_no_path_left_an_io_submitted_after_healing_waits_for_the_first_path() -> None:
    """Its session has to log in, and multipathd to see it: no I/O can be quicker."""
    both: tuple[Seen, ...] = ((3.01, FAILED, "2"), (17.0, REINSTATED, "2"))
    lost = measured((0, 17.1), seen=LOSS + RETURN + both, io_stops=True, carries_from=17.1)
    waiting = watched(with_io(lost, 14.5, 17.2))
    assert found(longest_io_within_budget(), waiting).verdict is Verdict.PASS
    later = watched(with_io(lost, 19.5, 22.2))
    assert found(longest_io_within_budget(), later).verdict is Verdict.FAIL


def test_an_io_is_not_failed_for_want_of_the_line_that_excuses_it() -> None:
    """The kernel's log has gaps, so it is not known when the path was given up."""
    seen = tuple(one for one in LOSS + RETURN if one[1] is not FAILED)
    hanging = with_io(measured((0, 0.5), seen=seen), 0.0, 3.0)
    assert found(longest_io_within_budget(), watched(hanging)).verdict is Verdict.FAIL
    assert found(longest_io_within_budget(), hanging).verdict is Verdict.UNKNOWN


def test_where_no_io_completed_that_is_the_reason() -> None:
    """And not the probe, which may have read little where other I/O was seen."""
    nothing = replace(measured(), streams=(), faults=())
    for check in (no_io_beyond(1), no_stall_beyond(1)):
        finding = found(check, nothing)
        assert (finding.verdict, finding.message) == (Verdict.UNKNOWN, "no I/O completed")
    other = with_io(measured(), 5, 6)
    finding = found(no_stall_beyond(1), replace(other, streams=other.streams[1:], faults=()))
    assert finding.message == "the probe measured too little to tell"


def test_without_a_fault_an_io_has_a_limit_of_its_own() -> None:
    clean = replace(with_io(measured(), 5, 6.5), faults=())
    assert found(no_stall_beyond(1), clean).verdict is Verdict.PASS
    finding = found(no_io_beyond(1), clean)
    assert finding.verdict is Verdict.FAIL
    assert finding.message == "an I/O took 1.50 s (write), 500 ms beyond the limit of 1 s"
    assert found(no_io_beyond(2), clean).verdict is Verdict.PASS
    assert found(longest_io_within_budget(), clean).verdict is Verdict.UNKNOWN
