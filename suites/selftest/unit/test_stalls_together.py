"""Many pauses of an outage are an outage as one long pause is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.budget import Budget
from harness.checks import Finding, Verdict, stall_within_budget, stalls_together_within_budget
from harness.measurements import MeansSample
from harness.timeline import Timeline
from harness.units import NS_PER_S
from suites.selftest.unit.judged import busy_host
from suites.selftest.unit.standstill import FAILED, counters, event, found, measured, watched

AGAIN = tuple((4.0 + 1.2 * n, 4.9 + 1.2 * n) for n in range(8))


def test_pauses_within_the_slack_are_too_long_together() -> None:
    """Nine tenths of a second, eight times, after the one that the fault explains."""
    pauses = watched(measured((0, 3.05), *AGAIN))
    assert found(stall_within_budget(), pauses).verdict is Verdict.PASS
    finding = found(stalls_together_within_budget(), pauses)
    assert finding.verdict is Verdict.FAIL
    assert finding.message == (
        "9 stalls of probe in LinkDown(a) took 10.25 s together, 6.25 s beyond the budget of 4 s"
    )


def test_a_fault_that_was_gone_for_a_while_has_broken_its_paths_twice() -> None:
    pauses = watched(measured((0, 3.05), *AGAIN))
    (fault,) = pauses.faults
    gone = MeansSample("LinkDown(a)", fault.injected_ns + NS_PER_S, "NIC eth0 has a carrier")
    flawed = replace(pauses, faults=(replace(fault, means_samples=(gone,)),))
    finding = found(stalls_together_within_budget(), flawed)
    assert finding.verdict is Verdict.UNKNOWN
    assert "but NIC eth0 has a carrier, 1.0 s after LinkDown(a) was injected" in finding.message


def test_one_stall_within_the_budget_passes() -> None:
    finding = found(stalls_together_within_budget(), measured((0, 3.05)))
    assert finding.verdict is Verdict.PASS
    assert finding.numbers == pytest.approx({"stalls_s": 3.05, "stalls": 1, "budget_s": 4})


def test_paths_that_are_lost_one_after_the_other_have_a_budget_each() -> None:
    """Those that are lost at once have one."""
    twice = measured((0, 3.05), (4, 7.05))
    (fault,) = twice.faults
    both = replace(
        twice,
        faults=(replace(fault, paths=("a", "b")),),
        counters=(twice.counters[0], counters("b", "sdb", 17.0)),
    )

    def with_loss(seconds: float) -> Finding:
        lost = event(seconds, FAILED, "2")
        return found(
            stalls_together_within_budget(),
            replace(both, timeline=Timeline.of([*both.timeline, lost])),
        )

    assert with_loss(7.0).verdict is Verdict.PASS
    assert with_loss(7.0).numbers["budget_s"] == 8
    losses = Timeline.of([*both.timeline, event(7.0, FAILED, "2")])
    longer = measured((0, 3.05), (4, 9.3))
    finding = found(
        stalls_together_within_budget(),
        replace(longer, faults=both.faults, counters=both.counters, timeline=losses),
    )
    assert finding.verdict is Verdict.FAIL
    assert "350 ms beyond the budget of 8 s" in finding.message
    assert with_loss(3.5).verdict is Verdict.FAIL
    assert "2.10 s beyond the budget of 4 s" in with_loss(3.5).message


def test_what_was_before_the_fault_is_not_of_its_outage() -> None:
    """A pause that the fault found already there counts from its injection on."""
    finding = found(stalls_together_within_budget(), measured((-0.5, 3.05)))
    assert finding.numbers["stalls_s"] == pytest.approx(3.05)


def test_pauses_as_they_were_before_the_fault_do_not_count() -> None:
    """A testbed that pauses for half a second now and then does so during the outage, too."""
    before = tuple((-2.5 + n, -2.0 + n) for n in range(2))
    finding = found(stalls_together_within_budget(), measured(*before, (0, 3.05), *AGAIN))
    assert finding.verdict is Verdict.PASS
    assert finding.numbers["stalls"] == 1


def test_short_pauses_do_not_count() -> None:
    """A busy host makes them while I/O makes up for the wait."""
    short = tuple((3.2 + 0.6 * n, 3.65 + 0.6 * n) for n in range(8))
    finding = found(stalls_together_within_budget(), watched(measured((0, 3.05), *short)))
    assert (finding.verdict, finding.numbers["stalls"]) == (Verdict.PASS, 1)
    long = ((3.2, 4.1), (4.4, 5.0))
    finding = found(stalls_together_within_budget(), watched(measured((0, 3.05), *long)))
    assert (finding.verdict, finding.numbers["stalls"]) == (Verdict.FAIL, 3)


@pytest.mark.parametrize(
    ("steal", "verdict", "says"),
    [
        (0.9, Verdict.UNKNOWN, "; but the host gave the machines no processor for "),
        (0.45, Verdict.UNKNOWN, "; but the host held back 45% of the processor time"),
        (0.35, Verdict.FAIL, ""),
    ],
)
def test_pauses_that_the_host_may_have_made_are_open(
    steal: float, verdict: Verdict, says: str
) -> None:
    """Without a processor a machine completes nothing, and with half of one it is late."""
    pauses = watched(measured((0, 3.05), *AGAIN))
    start_ns = pauses.faults[0].injected_ns
    host = busy_host(steal)
    times = start_ns + (host.at_ns - host.at_ns[0])
    assert times[-1] - times[0] > 14 * NS_PER_S
    busy = replace(pauses, processors=replace(host, at_ns=times))
    finding = found(stalls_together_within_budget(), busy)
    assert finding.verdict is verdict
    assert says in finding.message


def test_pauses_of_a_fault_without_a_budget_have_no_limit() -> None:
    """Without a fault there is nothing to judge."""
    pauses = measured((0, 3.05))
    finding = found(stalls_together_within_budget(), replace(pauses, faults=()))
    assert finding.verdict is Verdict.UNKNOWN
    (fault,) = pauses.faults
    terms = (replace(fault.budget.terms[0], seconds=float("inf")),)
    endless = replace(pauses, faults=(replace(fault, budget=Budget(terms)),))
    finding = found(stalls_together_within_budget(), endless)
    assert (finding.verdict, "budget_s" in finding.numbers) == (Verdict.PASS, False)


def test_pauses_of_an_initiator_that_no_fault_hits_are_open() -> None:
    """Its budget is the slack, which is for one pause: there is no outage to add them up for."""
    pauses = watched(measured(*((1.0 + 3 * n, 1.58 + 3 * n) for n in range(2)), seen=()))
    (fault,) = pauses.faults
    elsewhere = replace(fault, paths=(), budget=Budget(fault.budget.terms[-1:]))
    finding = found(stalls_together_within_budget(), replace(pauses, faults=(elsewhere,)))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == (
        "2 stalls of probe in LinkDown(a) took 1.16 s together, 160 ms beyond the budget of 1 s; "
        "but it hit no path of this initiator, and each pause has the slack"
    )
    here = replace(elsewhere, paths=fault.paths)
    finding = found(stalls_together_within_budget(), replace(pauses, faults=(here,)))
    assert finding.verdict is Verdict.FAIL
