"""How waits are held to their limits: to the nanosecond, and with all that is told of them."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from harness.analysis.fault_waits import StallsTogether
from harness.analysis.stall import LongIo, Stall, Wait
from harness.budget import Budget, BudgetTerm
from harness.checks import (
    Finding,
    Outcome,
    Verdict,
    stall,
    stall_within_budget,
    stalls_together_within_budget,
    waits,
)
from harness.checks.waits import Limit, budget_of, judge_wait, slack_of, waited
from harness.measurements import FaultRecord, Measurements, PathStates
from harness.timeline import Happened
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit import standstill
from suites.selftest.unit.judged import busy_host, found, good
from suites.selftest.unit.standstill import FAILED, LOSS, REINSTATED, RETURN, Seen
from suites.selftest.unit.synthetic_failover import END, INJECTED, START

GRAIN_NS = 62_500_000  # a sixteenth of a second: sums of such numbers are exact
TWO = Limit("limit", 2, "limit 2 s")


def of(seconds: float, kind: type[Wait] = Stall) -> Wait:
    """A wait of the probe from the first moment on."""
    return kind("probe", START, START + int(seconds * NS_PER_S), GRAIN_NS)


def held(
    wait: Wait | None,
    limit: Limit = TWO,
    measured: Measurements | None = None,
    resolution_ns: int | None = GRAIN_NS,
    because: dict[str, str] | None = None,
    spared_s: float = 0.0,
) -> Outcome:
    return judge_wait(
        measured or good(),
        wait,
        limit,
        resolution_ns,
        when=" here",
        because=because,
        spared_s=spared_s,
    )


def test_a_wait_that_is_too_long_is_told_with_its_limit() -> None:
    outcome = held(of(2.5))
    assert outcome.verdict is Verdict.FAIL
    assert outcome.message == "I/O stalled 2.50 s (probe) here, 500 ms beyond the limit of 2 s"
    assert outcome.figures == {
        "stall": "2.500 s (probe)",
        "allowed": "limit 2 s",
        "resolution": "62 ms",
    }
    assert outcome.numbers == {"stall_s": 2.5, "resolution_s": 0.0625, "limit_s": 2}
    assert outcome.span_ns == (START - NS_PER_S, START + 5 * NS_PER_S // 2)


def test_a_wait_that_is_allowed_is_told_with_what_is_allowed() -> None:
    outcome = held(of(1), measured=replace(good(), max_stall_s=3))
    assert outcome.verdict is Verdict.PASS
    assert outcome.message == (
        "longest stall 1.000 s (probe) here, limit 2 s and max_stall 3 s, resolution 62 ms"
    )
    assert outcome.numbers == {
        "stall_s": 1,
        "resolution_s": 0.0625,
        "limit_s": 2,
        "max_stall_s": 3,
    }
    single = held(of(1, LongIo))
    assert single.message.startswith("longest I/O 1.000 s (probe) here, limit 2 s, ")
    assert single.numbers["longest_io_s"] == 1
    assert held(of(3, LongIo)).message.startswith("an I/O took 3.00 s (probe) here, ")


def test_what_was_not_seen_is_not_judged() -> None:
    assert held(None).message == "no I/O completed here"
    assert held(None, resolution_ns=None).message == "no I/O completed here"
    assert held(of(1), resolution_ns=None).message == "the probe measured too little to tell"


@pytest.mark.parametrize(
    ("wait_ns", "resolution_ns", "verdict"),
    [
        (2 * NS_PER_S - GRAIN_NS, GRAIN_NS, Verdict.PASS),
        (2 * NS_PER_S - GRAIN_NS + 1, GRAIN_NS, Verdict.UNKNOWN),
        (2 * NS_PER_S, GRAIN_NS, Verdict.UNKNOWN),  # as long as is allowed
        (NS_PER_S, 100 * NS_PER_MS, Verdict.PASS),
        (NS_PER_S, 100 * NS_PER_MS + 1, Verdict.UNKNOWN),
    ],
)
def test_what_is_seen_too_coarsely_is_unknown(
    wait_ns: int, resolution_ns: int, verdict: Verdict
) -> None:
    wait = Stall("probe", START, START + wait_ns, resolution_ns)
    outcome = held(wait, resolution_ns=resolution_ns)
    assert outcome.verdict is verdict, outcome.message
    told = outcome.message.startswith("too coarse to tell: longest stall ")
    assert told is (verdict is Verdict.UNKNOWN)


def test_time_without_a_processor_may_explain_as_much_and_no_more() -> None:
    """Half a second of it."""
    busy = replace(good(), processors=busy_host(0.5, end_ns=START + NS_PER_S))
    outcome = held(of(2.5), measured=busy)
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.message.endswith(
        "; but the host gave the machines no processor for 0.500 s of it"
    )
    assert outcome.figures["of it without a processor"] == "0.500 s"
    assert outcome.numbers["without_processor_s"] == 0.5
    longer = held(of(2.5), Limit("limit", 1.9375, "limit"), busy)
    assert longer.verdict is Verdict.FAIL
    assert waited(good(), START, END) == 0


def test_the_limit_that_is_surely_exceeded_is_told() -> None:
    """The first that is, if none is surely."""
    busy = replace(good(), processors=busy_host(0.5, end_ns=START + NS_PER_S), max_stall_s=1)
    assert held(of(2.5), measured=busy).message.endswith(", 1.50 s beyond the max_stall of 1 s")
    both = replace(busy, max_stall_s=2)
    assert ", 500 ms beyond the limit of 2 s; but" in held(of(2.5), measured=both).message


def test_max_stall_does_not_count_what_is_spared() -> None:
    measured = replace(good(), max_stall_s=1)
    outcome = held(of(2.5), Limit("budget", 4, "budget 4 s"), measured, spared_s=1)
    assert outcome.message.endswith(", 500 ms beyond the max_stall of 1 s after healing")
    assert held(of(1.5), TWO, measured, spared_s=1).verdict is Verdict.PASS


def test_why_a_wait_was_too_long_is_told_by_the_limit() -> None:
    because = {"limit": "login took 1 s", "max_stall": ""}
    assert held(of(2.5), because=because).message.endswith(" of 2 s: login took 1 s")
    only = Limit("limit", 9, "limit 9 s")
    outcome = held(of(2.5), only, replace(good(), max_stall_s=1), because=because)
    assert outcome.message.endswith("beyond the max_stall of 1 s")


def test_without_a_limit_nothing_is_too_long() -> None:
    outcome = held(of(9), Limit("budget", inf, "budget none", unlimited="noop is off"))
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.message == (
        "I/O stalled 9.00 s (probe) here, and nothing limits it: noop is off"
    )
    assert outcome.numbers == {"stall_s": 9, "resolution_s": 0.0625}


def with_terms(*terms: BudgetTerm) -> FaultRecord:
    (fault,) = good().faults
    return replace(fault, budget=Budget(terms))


def test_a_fault_has_its_budget_for_each_loss() -> None:
    (fault,) = good().faults
    assert budget_of(fault) == budget_of(fault, 1)
    assert budget_of(fault).seconds == 4
    assert budget_of(fault).shown == f"budget {fault.budget}"
    assert budget_of(fault, 2).seconds == 8
    assert budget_of(fault, 2).shown == f"2 times the budget {fault.budget}"
    assert budget_of(fault).unlimited == ""


def test_the_slack_is_that_of_the_budget_alone() -> None:
    slack = slack_of(
        with_terms(
            BudgetTerm("login", 3, ""), BudgetTerm("slack", 1, ""), BudgetTerm("slack", 2, "")
        )
    )
    assert (slack.seconds, slack.shown, str(slack)) == (3, "slack 3 s", "the slack of 3 s")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a",), "a (sysfs) is off: it waits (cure: set it)"),
        (("a", "b"), "a (sysfs) and b (sysfs) are off: it waits (cure: set it)"),
    ],
)
def test_settings_that_are_off_are_told_together(names: tuple[str, ...], told: str) -> None:
    terms = (BudgetTerm(name, inf, "sysfs", why="it waits", cure="set it") for name in names)
    assert budget_of(with_terms(*terms)).unlimited == told


def together(
    monkeypatch: pytest.MonkeyPatch,
    *spans_s: tuple[float, float],
    measured: Measurements | None = None,
) -> Finding:
    """What is said of stalls of the probe, in seconds since the fault, and of shorter ones."""

    def stalls_of(_: Measurements, __: FaultRecord) -> list[StallsTogether]:
        spans = tuple(
            (INJECTED + int(start * NS_PER_S), INJECTED + int(end * NS_PER_S))
            for start, end in spans_s
        )
        less = ((INJECTED, INJECTED + NS_PER_S),)
        return [
            StallsTogether("reads", less),
            StallsTogether("probe", spans),
            StallsTogether("writes", less),
        ]

    monkeypatch.setattr(stall, "stalls_of", stalls_of)
    return found(stalls_together_within_budget(), measured or good())


def test_stalls_as_long_as_the_budget_together_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (fault,) = good().faults
    finding = together(monkeypatch, (0, 3), (4, 5))
    assert finding.verdict is Verdict.PASS
    assert finding.message == (
        f"2 stalls of probe in SilentDrop(a) took 4.00 s together, budget {fault.budget}"
    )
    assert finding.figures == {
        "stalls in SilentDrop(a)": "4.000 s in 2 (probe)",
        "allowed": f"budget {fault.budget}",
    }
    assert finding.numbers == {"stalls_s": 4, "stalls": 2, "budget_s": 4}


def test_stalls_that_are_longer_together_are_told_by_how_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finding = together(monkeypatch, (0.5, 5))
    assert finding.verdict is Verdict.FAIL
    assert finding.message == (
        "1 stall of probe in SilentDrop(a) took 4.50 s together, 500 ms beyond the budget of 4 s"
    )
    several = together(monkeypatch, (0.5, 2), (3, 4), (4.5, 6.5))
    assert several.span_ns == (
        INJECTED + NS_PER_S // 2 - NS_PER_S,
        INJECTED + 13 * NS_PER_S // 2,
    )


def test_stalls_together_are_excused_by_as_much_as_the_host_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a second of what they are, and not of what lies between them."""
    busy = busy_host(0.25, start_ns=INJECTED, end_ns=INJECTED + 2 * NS_PER_S)
    host = replace(good(), processors=busy)
    finding = together(monkeypatch, (0, 2), (3, 5.5), measured=host)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith(
        "; but the host gave the machines no processor for 0.500 s of it"
    )
    finding = together(monkeypatch, (0, 2), (3, 5.5625), measured=host)
    assert finding.verdict is Verdict.FAIL
    between = busy_host(0.25, start_ns=INJECTED + 2 * NS_PER_S, end_ns=INJECTED + 3 * NS_PER_S)
    finding = together(monkeypatch, (0, 2), (3, 5.5), measured=replace(good(), processors=between))
    assert finding.verdict is Verdict.FAIL


def test_stalls_together_prove_nothing_on_a_busy_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the whole time from the first to the last."""
    busy = busy_host(0.6, start_ns=INJECTED + 2 * NS_PER_S, end_ns=INJECTED + 17 * NS_PER_S)
    host = replace(good(), processors=busy)
    finding = together(monkeypatch, (0, 1), (1, 2), (17, 20), measured=host)
    assert finding.verdict is Verdict.UNKNOWN
    assert "; but the host held back 45% of the processor time that the machines" in finding.message


def test_on_an_initiator_that_was_not_hit_more_than_the_budget_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (fault,) = good().faults
    elsewhere = replace(good(), faults=(replace(fault, paths=()),))
    finding = together(monkeypatch, (0, 5), measured=elsewhere)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message.endswith(
        "; but it hit no path of this initiator, and each pause has the slack"
    )


def test_without_a_limit_stalls_together_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = with_terms(BudgetTerm("recovery_tmo", inf, "sysfs"))
    finding = together(monkeypatch, (0, 9), measured=replace(good(), faults=(fault,)))
    assert finding.verdict is Verdict.PASS
    assert finding.numbers == {"stalls_s": 9, "stalls": 1}


def test_without_io_or_a_fault_there_are_no_stalls_to_add_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    none = found(stalls_together_within_budget(), replace(good(), faults=()))
    assert none.message == "no fault was injected, so there is no budget"
    monkeypatch.setattr(stall, "stalls_of", lambda *_: [])
    silent = found(stalls_together_within_budget(), good())
    assert silent.message == "no I/O completed while SilentDrop(a) was felt"
    forced = replace(good(), errors_forced=True, cut_short="it hung")
    assert found(stalls_together_within_budget(), forced).verdict is Verdict.FAIL


def test_a_wait_before_any_fault_has_the_slack_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = with_terms(BudgetTerm("slack", 1, ""))
    second = replace(
        with_terms(BudgetTerm("slack", 9, "")),
        name="second",
        injected_ns=END - 3 * NS_PER_S,
        confirmed_ns=END - 3 * NS_PER_S,
        healed_ns=END - 2 * NS_PER_S,
        healing_confirmed_ns=END - 2 * NS_PER_S,
    )
    monkeypatch.setattr(waits, "wait_before", lambda *_: of(1.5))
    monkeypatch.setattr(waits, "longest_by_losses", lambda *_: {})
    finding = found(stall_within_budget(), replace(good(), faults=(second, first)))
    assert finding.verdict is Verdict.FAIL
    assert " before any fault, 500 ms beyond the slack of 1 s" in finding.message


@pytest.mark.parametrize(
    ("lost_s", "verdict"),
    [
        (-0.001, Verdict.FAIL),
        (0.0, Verdict.UNKNOWN),
        (14.1, Verdict.UNKNOWN),
        (14.101, Verdict.FAIL),
    ],
)
def test_a_fault_that_missed_may_have_hit_another_path_while_it_lasted(
    lost_s: float, verdict: Verdict
) -> None:
    """From its injection until its healing was confirmed."""
    made = standstill.watched(standstill.measured((5, 8), seen=((lost_s, FAILED, "2"),)))
    first, *others = made.counters
    busy = replace(first, bytes_written=4096 * np.arange(len(first.at_ns)))
    states = (PathStates(standstill.at(-0.5), {"a": "active", "b": "active"}),)
    missed = replace(made, counters=(busy, *others), path_states=states)
    assert found(stall_within_budget(), missed).verdict is verdict


def test_only_what_was_not_seen_in_time_is_told_as_such() -> None:
    lost = standstill.watched(standstill.measured((0, 3.05)))
    assert "not seen in time" not in found(stall_within_budget(), lost).figures
    seen = tuple(one for one in (*LOSS, *RETURN) if one[1] is not Happened.RECOVERY_TIMED_OUT)
    blind = standstill.watched(standstill.measured((0, 3.05), seen=seen))
    assert found(stall_within_budget(), blind).figures["not seen in time"]


def test_nothing_is_spared_of_a_wait_that_began_after_healing() -> None:
    """With no path left, until the first one is back."""
    both: tuple[Seen, ...] = ((3.01, FAILED, "2"), (17.0, REINSTATED, "2"))
    lost = standstill.measured(
        (14.5, 17.15), seen=LOSS + RETURN + both, io_stops=True, carries_from=17.1
    )
    finding = found(stall_within_budget(), standstill.watched(replace(lost, max_stall_s=1)))
    assert "beyond the max_stall of 1 s" in finding.message
    assert "after healing" not in finding.message
    assert "spared_by_max_stall_s" not in finding.numbers
