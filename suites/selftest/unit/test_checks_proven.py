"""How well writes are proven, paths that came back, losses: at the limits, and as it is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.write_proof import PhaseProof, WriteProof
from harness.budget import Budget, BudgetTerm
from harness.checks import (
    Verdict,
    no_unexpected_path_loss,
    redundancy_back_in_time,
)
from harness.checks.path_loss import caused
from harness.checks.proof import proof_figures, proof_numbers, unproven
from harness.measurements import (
    Found,
    Measurements,
)
from harness.timeline import Phase
from harness.transport.iscsi.settings import session_settings
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit.judged import (
    busy_host,
    found,
    good,
    watched_writes,
)
from suites.selftest.unit.synthetic_failover import END, HEALED, INJECTED, START

BEFORE, _, _ = good().phases


def proof(**changes: object) -> WriteProof:
    """Two of three writes are proven, in two phases, and one is under watch."""
    phases = (PhaseProof("before", 1, 1), PhaseProof("after", 2, 1))
    one = WriteProof(phases, (), blind_s=1.23456, acknowledged=3, proven=2, watched=1, looks=11)
    return replace(one, **changes)  # type: ignore[arg-type]  # whatever a test changes


def test_a_proof_is_told_in_figures_and_numbers() -> None:
    assert proof_figures(proof()) == {
        "writes proven": "2 of 3 (66.67 %)",
        "writes proven, phase 'before'": "1 of 1",
        "writes proven, phase 'after'": "1 of 2",
        "blind time": "1.23 s for a wrong content, if it is seen over every path",
        "writes under watch": "1 of 3 (33.33 %)",
        "looks at blocks": "11",
    }
    thirds = proof(phases=(PhaseProof("before", 3, 2),))
    assert proof_numbers(thirds) == {
        "writes_acknowledged": 3,
        "writes_proven": 0.666667,
        "least_proven_of_a_phase": 0.666667,
        "writes_watched": 0.333333,
        "blind_s": 1.235,
    }


def test_a_proof_is_good_enough_at_its_limits() -> None:
    """Of each phase 99.9 % proven, and no more than 2 s blind."""
    least = (PhaseProof("before", 1000, 999),)
    assert list(unproven(proof(phases=least, blind_s=2.0), good())) == []
    (little,) = unproven(proof(phases=(PhaseProof("before", 1000, 998),), blind_s=0), good())
    assert little == (
        "only 998 of 1000 writes acknowledged in phase 'before' are proven (99.80 %, 99.9% wanted)"
    )
    (blind,) = unproven(proof(phases=least, blind_s=2.001), good())
    assert blind == (
        "a wrong content could have gone unseen for 2.0 s, if it is seen over every path: "
        "more than 2 s"
    )


def test_what_the_host_held_back_is_told_of_all_phases() -> None:
    """Of that time as a whole it kept a quarter; of none of its phases alone."""
    (blind,) = unproven(proof(phases=(), blind_s=9), replace(good(), processors=busy_host(0.35)))
    assert blind.endswith("; the host held back 35% of the processor time that the machines wanted")
    quiet_at_first = busy_host(0.7, start_ns=HEALED)
    steal = quiet_at_first.steal(START, END)
    assert 0.1 < steal < 0.35
    (blind,) = unproven(proof(phases=(), blind_s=9), replace(good(), processors=quiet_at_first))
    assert blind.endswith(
        f"; the host held back {steal:.0%} of the processor time that the machines wanted"
    )
    (blind,) = unproven(
        proof(phases=(), blind_s=9), replace(good(), processors=busy_host(0.7, end_ns=INJECTED))
    )
    assert f"held back {0.7 * 6 / 29:.0%} of" in blind


def looked_over(
    path: str, began_ns: int, *, took_ns: int = NS_PER_MS, read: int = 1, result: int = 0
) -> Measurements:
    """The sweep looked over that path once in the first phase, then."""
    history = watched_writes()
    looks = history.looks
    mine = (looks.place == looks.places.index(path)) & (looks.began_ns < INJECTED)
    place = np.where(mine, 0, looks.place)
    columns = {"place": looks.places.index(path), "offset": 1 << 30, "found": result}
    columns |= {"began_ns": began_ns, "ended_ns": began_ns + took_ns}
    looks = replace(
        looks,
        **{  # type: ignore[arg-type]  # arrays by their names
            name: np.append(place if name == "place" else getattr(looks, name), value)
            for name, value in columns.items()
        },
    )
    return replace(
        good(), history=replace(history, looks=looks, read=np.append(history.read, read))
    )


@pytest.mark.parametrize(
    ("measured", "seen"),
    [
        (looked_over("a", START), True),
        (looked_over("a", START - 1), False),
        (looked_over("a", INJECTED - NS_PER_MS), True),
        (looked_over("a", INJECTED - NS_PER_MS + 1), False),
        (looked_over("a", START + NS_PER_S, read=0), False),  # what was read back
        (looked_over("a", START + NS_PER_S, result=Found.NO_ANSWER), False),
    ],
)
def test_a_path_was_looked_over_by_an_answer_within_the_phase(
    measured: Measurements, seen: bool
) -> None:
    told = list(unproven(proof(phases=(), blind_s=0), measured))
    assert told == ([] if seen else ["the sweep saw nothing over path a in phase 'before'"])


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, True),
        ({"settled": False}, False),
        ({"end_ns": START + 2 * NS_PER_S}, True),
        ({"end_ns": START + 2 * NS_PER_S - 1}, False),
    ],
)
def test_a_phase_of_two_seconds_is_long_enough_to_look_over_each_path(
    changes: dict[str, int], asked: bool
) -> None:
    """One that is not does not end the look at those that follow."""
    unseen = looked_over("a", START - 1)
    before = replace(BEFORE, **changes)  # type: ignore[arg-type]  # one of its fields
    last = Phase("last", START, INJECTED)
    told = list(unproven(proof(phases=(), blind_s=0), replace(unseen, phases=(before, last))))
    phases = ["before", "last"] if asked else ["last"]
    assert told == [f"the sweep saw nothing over path a in phase {name!r}" for name in phases]


def test_a_path_in_reserve_before_is_not_looked_over_while_it_is_used() -> None:
    measured = looked_over("a", START - 1)
    states = tuple(
        replace(one, reserve=frozenset("a" if one.at_ns <= INJECTED else ""))
        for one in measured.path_states
    )
    assert list(unproven(proof(phases=(), blind_s=0), replace(measured, path_states=states))) == []


def test_paths_that_are_back_are_told_with_their_time_and_what_was_allowed() -> None:
    finding = found(redundancy_back_in_time(), good())
    assert finding.verdict is Verdict.PASS
    assert finding.figures == {
        "path a after SilentDrop(a)": "back 3.10 s",
        "allowed to come back": "43.00 s (login_timeout 3 + polling 40)",
    }
    assert finding.numbers == {"back_after_a_s": pytest.approx(3.1), "returning_s": 43}


def returning(seconds: float) -> Measurements:
    (fault,) = good().faults
    budget = Budget((BudgetTerm("polling", seconds, "daemon"),))
    return replace(good(), faults=(replace(fault, returning=budget),))


def test_a_path_may_take_twice_its_budget_to_come_back() -> None:
    took_s = found(redundancy_back_in_time(), good()).numbers["back_after_a_s"]
    assert found(redundancy_back_in_time(), returning(took_s / 2)).verdict is Verdict.PASS
    late = found(redundancy_back_in_time(), returning(took_s / 2 - 0.01))
    assert late.verdict is Verdict.FAIL
    assert "20 ms beyond twice the budget" in late.message


def test_a_path_that_nothing_limits_has_no_number_for_its_limit() -> None:
    finding = found(redundancy_back_in_time(), returning(float("inf")))
    assert finding.verdict is Verdict.UNKNOWN
    assert "returning_s" not in finding.numbers


@pytest.mark.parametrize(
    ("at_ns", "seen"),
    [
        (INJECTED - 1, False),
        (INJECTED, True),
        (HEALED, True),
        (HEALED + 1, False),
    ],
)
def test_a_fault_that_took_no_path_needs_a_sample_while_it_lasted(at_ns: int, seen: bool) -> None:
    (fault,) = good().faults
    kept = replace(fault, paths=("b",))
    look = replace(good().path_states[0], at_ns=at_ns)
    finding = found(redundancy_back_in_time(), replace(good(), faults=(kept,), path_states=(look,)))
    assert ("states of the paths were not sampled" in finding.message) is not seen


def test_losses_that_a_fault_explains_are_counted() -> None:
    finding = found(no_unexpected_path_loss(), good())
    assert finding.message == "failed paths, each hit by a fault: a"
    assert finding.numbers == {"paths_given_up": 1, "unexpected": 0, "absent_unexpectedly": 0}
    quiet = replace(good(), faults=(), timeline=type(good().timeline)(()))
    states = tuple(replace(one, states={"a": "active", "b": "active"}) for one in quiet.path_states)
    assert found(no_unexpected_path_loss(), replace(quiet, path_states=states)).message == (
        "no path failed"
    )


@pytest.mark.parametrize("missing", ["kernel_logs", "counters"])
def test_losses_are_unseen_without_a_log_or_without_paths(missing: str) -> None:
    blind = replace(good(), **{missing: ()})  # type: ignore[arg-type]  # both are tuples
    assert found(no_unexpected_path_loss(), blind).message == (
        "no kernel log was followed, or no path is known"
    )


def test_a_loss_was_caused_within_twice_the_time_that_its_session_has() -> None:
    """1 s to ask, 1 s to wait and 1 s to recover; nothing is known without a session."""
    slow = replace(good(), settings=(session_settings("a", 1, 1, 1, "a"),))
    assert caused(slow, INJECTED, HEALED) == (INJECTED - 6 * NS_PER_S, HEALED)
    assert caused(replace(good(), settings=()), INJECTED, HEALED) == (INJECTED, HEALED)
