"""One line of the terminal for the stall of a test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.budget import BudgetTerm, Layer
from harness.checks import Verdict, judge, no_stall_beyond, stall_within_budget
from harness.measurements import Measurements
from harness.reporting.evidence import stall_markdown
from harness.reporting.stall_line import WIDTH, stall_line
from harness.timeline import Timeline
from harness.units import NS_PER_MS
from suites.selftest.unit.synthetic_failover import INJECTED, failover


def line(measurements: Measurements, test: str = "test_loss[a]") -> str:
    (finding,) = judge(measurements, stall_within_budget()).findings
    return stall_line(test, measurements, finding.numbers)


def test_a_stall_is_told_by_its_parts() -> None:
    """By the names that the report has; of a few milliseconds there is none."""
    assert line(failover()) == (
        "test_loss[a]: 2.94 s of 4.00 s: detection 1.98, session recovery 0.92, resubmission 0.03"
    )


def test_the_stricter_limit_is_told() -> None:
    """Whatever the settings allow."""
    assert "2.94 s of 2.50 s: " in line(replace(failover(), max_stall_s=2.5))


def test_what_was_not_seen_is_told_together() -> None:
    """As one part."""
    told = line(replace(failover(), timeline=Timeline(())))
    assert told.endswith(": detection, session recovery, device mapper and resubmission 2.94")


def all_lost() -> Measurements:
    """No path was left for 2.92 s."""
    measured = failover()
    (fault,) = measured.faults
    layers = (Layer.DETECTION, Layer.SESSION_RECOVERY, Layer.PATH_FAILURE, Layer.NO_PATH)
    slack = BudgetTerm("slack", 1, "", "", (Layer.RESUBMISSION,))
    terms = (BudgetTerm("outage", 14, "", "", layers), slack)
    healed_ns = INJECTED + 2_920 * NS_PER_MS
    lost = replace(
        fault,
        io_stops=True,
        healed_ns=healed_ns,
        healing_confirmed_ns=healed_ns + NS_PER_MS,
        budget=replace(fault.budget, terms=terms),
    )
    return replace(measured, faults=(lost,))


def test_with_no_path_left_the_outage_is_one_part() -> None:
    """Nothing but healing could end it."""
    assert line(all_lost()) == (
        "test_loss[a]: 2.94 s of 15.00 s: no path left 2.92, session login, reinstatement and "
        "resubmission 0.02"
    )


def test_with_no_path_left_max_stall_begins_at_healing() -> None:
    """Else a stall that passed would be told as one beyond its limit."""
    measured = replace(all_lost(), max_stall_s=0.5)
    (finding,) = judge(measured, stall_within_budget()).findings
    assert finding.verdict is Verdict.PASS
    assert line(measured).startswith("test_loss[a]: 2.94 s of 3.42 s: ")
    assert "it counts from healing on" in stall_markdown(measured)
    assert "it counts from healing on" not in stall_markdown(replace(failover(), max_stall_s=0.5))


@pytest.mark.parametrize(
    "test", ["test_io_survives_losing_one_path[second/lun1-a-PeerLinkDown]", "x" * 300]
)
def test_it_fits_a_terminal(test: str) -> None:
    """Of a long name the end is kept, which tells the parameters."""
    told = line(failover(), test)
    assert len(told) == WIDTH
    assert told.startswith("…")
    assert f"{test[-9:]}: 2.94 s of 4.00 s: detection" in told


def test_without_a_fault_there_are_no_parts() -> None:
    """Only the longest stall, and its limit."""
    clean = replace(failover(), faults=())
    (finding,) = judge(clean, no_stall_beyond(5)).findings
    assert stall_line("test_clean", clean, finding.numbers) == "test_clean: 2.94 s of 5.00 s"
