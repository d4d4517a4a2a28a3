"""What a disk of the map that was not planned excuses, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.checks import (
    Verdict,
    no_io_errors,
    no_stall_beyond,
    no_unexpected_path_loss,
    stall_within_budget,
)
from harness.measurements import Measurements, UnplannedDisk
from harness.timeline import Event, Happened, Timeline
from harness.units import NS_PER_S
from suites.selftest.unit.judged import found, good
from suites.selftest.unit.synthetic_failover import HEALED, INJECTED, START


def with_stray(measured: Measurements, start_ns: int, end_ns: int) -> Measurements:
    return replace(measured, unplanned_disks=(UnplannedDisk("8:48", "sdd", start_ns, end_ns),))


def test_a_stall_proves_nothing_while_io_went_over_a_disk_that_was_not_planned() -> None:
    """Its session has timeouts of its own, and I/O may have waited for them."""
    assert found(no_stall_beyond(1.0), good()).verdict is Verdict.FAIL
    then = with_stray(good(), INJECTED - NS_PER_S, INJECTED + NS_PER_S)
    finding = found(no_stall_beyond(1.0), then)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith("; but sdd (8:48) of the map runs over no planned portal")
    later = with_stray(good(), HEALED, HEALED + NS_PER_S)
    assert found(no_stall_beyond(1.0), later).verdict is Verdict.FAIL


def test_a_stall_beyond_its_budget_is_excused_likewise() -> None:
    (fault,) = good().faults
    short = replace(fault, budget=replace(fault.budget, terms=fault.budget.terms[2:]))
    measured = replace(good(), faults=(short,))
    assert found(stall_within_budget(), measured).verdict is Verdict.FAIL
    then = with_stray(measured, INJECTED, HEALED)
    assert found(stall_within_budget(), then).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("path", ["a", "b"])
def test_a_planned_path_that_was_lost_is_not_excused(path: str) -> None:
    at_ns = START + NS_PER_S
    lost = Event(at_ns, Happened.PATH_FAILED, "initiator kernel", path, path=path)
    again = Event(
        at_ns + NS_PER_S // 100, Happened.PATH_REINSTATED, "initiator kernel", path, path=path
    )
    measured = replace(good(), timeline=Timeline.of([*good().timeline, lost, again]))
    finding = found(no_unexpected_path_loss(), with_stray(measured, START, HEALED))
    assert (finding.verdict, finding.message) == (
        Verdict.FAIL,
        f"paths failed without a fault there: {path} (2023-11-14T23:36:42.000Z)",
    )


def test_an_io_error_is_not_excused() -> None:
    """The planned paths were there to take it over."""
    assert not no_io_errors().through_the_lab
