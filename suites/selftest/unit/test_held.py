"""I/O that a fault holds up: what that allows, what it proves, and what is blamed for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.budget import Budget, BudgetTerm, Effect, Layer
from harness.checks import (
    Check,
    Verdict,
    evidence_sound,
    fault_took_effect,
    lab_disks_sound,
    latency_held,
    stall_within_budget,
    throughput_held,
)
from harness.config import Config
from harness.config.ready import ready_topologies
from harness.faults import (
    LinkDown,
    LunsOffline,
    Standby,
    StorageHangs,
    StorageSlow,
    Takeover,
    TargetPaused,
    Together,
    Transitioning,
)
from harness.faults.base import Fault
from harness.faults.injection import Injection
from harness.measurements import FaultRecord, MeansSample, Measurements
from harness.topology import Topology, plan
from harness.transport.iscsi.settings import session_settings
from harness.units import NS_PER_MS, NS_PER_S
from suites.selftest.unit import standstill
from suites.selftest.unit.judged import carrying, found, good, with_counters
from suites.selftest.unit.standstill import HEALED, HEALING_CONFIRMED, layers, measured, taken_apart
from suites.selftest.unit.synthetic_failover import END, INJECTED, START
from suites.selftest.unit.synthetic_failover import HEALED as HEALED_NS
from suites.selftest.unit.test_budget import ALLOWANCES
from suites.selftest.unit.test_checks_evidence import clocks
from suites.selftest.unit.test_lab_disks import disk, with_disk

TWO = plan(Config())
CONTROLLERS = plan(Config.model_validate(ready_topologies()["two-controllers"]))


def record(fault: Fault, topology: Topology = TWO) -> FaultRecord:
    """Healed, with confirmation, after 8 s; each session has timeouts of 1, 2 and 3 s."""
    over = (NS_PER_S, 2 * NS_PER_S, 8 * NS_PER_S, 9 * NS_PER_S)
    sessions = [session_settings(path.name, 1, 2, 3) for path in topology.paths]
    return Injection(fault, topology, *over).record(sessions, 1.0, ALLOWANCES)


def terms(fault: Fault, topology: Topology = TWO) -> dict[str, float]:
    return {term.name: term.seconds for term in record(fault, topology).budget.terms}


def test_what_is_held_may_take_as_long_as_the_fault() -> None:
    """And nothing more: no path has to come back."""
    paused = record(TargetPaused())
    assert terms(TargetPaused()) == terms(StorageSlow()) == {"held": 8.0, "slack": 1.0}
    assert paused.io_stops
    assert (paused.paths, paused.limping) == (("a", "b"), ())
    assert paused.effects == (Effect.HELD,)
    assert paused.returning.seconds == 1
    assert (paused.stopped, paused.links, paused.disks_held) == (("target",), ("a", "b"), False)


def test_a_disk_that_hangs_may_cost_a_session() -> None:
    """A target that waits for it may not answer pings."""
    hung = record(StorageHangs())
    assert terms(StorageHangs()) == {
        "held": 8.0,
        "login_timeout": 3.0,
        "polling_interval": 1.0,
        "checker tick": 1.0,
        "slack": 1.0,
    }
    assert hung.io_stops
    assert hung.limping == hung.paths == ("a", "b")
    assert (hung.stopped, hung.disks_held) == ((), True)


def test_a_unit_that_is_not_ready_says_so_at_once() -> None:
    """No timeout runs out; to come back it has to be looked at."""
    assert terms(LunsOffline("c1"), CONTROLLERS) == {"slack": 1.0}
    assert terms(Standby("c1"), CONTROLLERS) == {"retry delay": 1.0, "slack": 1.0}
    offline = record(LunsOffline("c1"), CONTROLLERS)
    assert not offline.io_stops
    assert {term.name for term in offline.returning.terms} == {
        *("polling_interval", "checker tick", "slack")
    }


def test_a_transition_is_waited_for_and_its_paths_may_have_to_come_back() -> None:
    """Though others are left: the initiator need not turn to them."""
    assert terms(Transitioning("c1"), CONTROLLERS) == {
        "held": 8.0,
        "polling_interval": 1.0,
        "checker tick": 1.0,
        "slack": 1.0,
    }
    assert record(Transitioning("c1"), CONTROLLERS).io_stops


def test_a_takeover_may_cost_its_transition_and_not_all_of_its_time() -> None:
    """Twice, at most: each wait has this limit."""
    taken = record(Takeover("c1"), CONTROLLERS)
    assert terms(Takeover("c1"), CONTROLLERS) == {
        "transition": 3.0,
        "state read again": 2.0,
        "retry delay": 1.0,
        "polling_interval": 1.0,
        "checker tick": 1.0,
        "slack": 1.0,
    }
    assert not taken.io_stops
    assert taken.paths == ("a1", "b1", "a2", "b2")
    assert taken.limping == ("a2", "b2")


def test_where_no_path_is_left_besides_it_is_an_outage_that_is_held() -> None:
    both = record(Together((TargetPaused(), LinkDown("a"))))
    assert both.budget.terms[0].name == "held"
    assert both.io_stops


HELD = Budget(
    (
        BudgetTerm("held", HEALING_CONFIRMED, "", layers=(Layer.DETECTION, Layer.HELD)),
        BudgetTerm("slack", 1, "", layers=(Layer.RESUBMISSION,)),
    )
)


def held(*pauses: tuple[float, float]) -> Measurements:
    """Both paths wait until the fault is healed after 14 s; none is given up."""
    one = measured(*pauses, seen=(), io_stops=True, carries_from=HEALED + 0.1)
    (fault,) = one.faults
    slack = Budget(HELD.terms[1:])
    changed = replace(fault, effects=(Effect.HELD,), budget=HELD, returning=slack)
    return replace(one, faults=(changed,))


def test_the_wait_until_healing_is_the_faults() -> None:
    """It has all of that time, and the slack."""
    assert standstill.found(stall_within_budget(), held((0, 14.5))).verdict is Verdict.PASS
    late = standstill.found(stall_within_budget(), held((0, 16.0)))
    assert late.verdict is Verdict.FAIL
    assert "beyond the budget of 15.1 s" in late.message


def test_another_wait_has_the_slack_only() -> None:
    """It was over before the fault was, or came later."""
    seen = standstill.watched(held((2, 5), (5.1, 14.2)))
    early = standstill.found(stall_within_budget(), seen)
    assert early.verdict is Verdict.FAIL
    assert "3.00 s" in early.message


def test_its_parts_are_those_that_were() -> None:
    """Nothing is missing: no path need fail, and no session log in."""
    parts = taken_apart(held((0, 14.2)))
    assert layers(parts) == {"held by the fault": 14.0, "resubmission": 0.2}
    assert [part.allowed_s for part in parts.outage] == [14.1, 1]
    assert parts.missing == ()
    assert [part.layer for part in parts.recovery] == ["first I/O on the path"]


def of_held() -> Measurements:
    """As if the fault that hits path a held it."""
    (fault,) = good().faults
    return replace(good(), faults=(replace(fault, effects=(Effect.HELD,), io_stops=True),))


def test_paths_that_only_wait_must_carry_nothing() -> None:
    finding = found(fault_took_effect(), of_held())
    assert finding.verdict is Verdict.PASS
    assert finding.message == "SilentDrop(a): its paths carried nothing"
    loud = with_counters(of_held(), "a", lambda c: carrying(c, INJECTED, HEALED_NS, 1_000_000))
    assert "path a (sda) still carried" in found(fault_took_effect(), loud).message


def test_the_others_need_not_take_over() -> None:
    """I/O waits for what is held; under a loss that would be a failure."""
    quiet = with_counters(of_held(), "b", lambda c: carrying(c, INJECTED, HEALED_NS, 0))
    assert found(fault_took_effect(), quiet).verdict is Verdict.PASS
    lost = with_counters(good(), "b", lambda c: carrying(c, INJECTED, HEALED_NS, 0))
    assert found(fault_took_effect(), lost).verdict is Verdict.FAIL


def test_a_path_in_reserve_has_nothing_that_could_fail() -> None:
    """Only the fault's means tell of it."""
    every = with_counters(of_held(), "a", lambda c: carrying(c, START, END, 0))
    looks = tuple(
        replace(look, reserve=frozenset({"a"}), states=dict.fromkeys(look.states, "active"))
        for look in every.path_states
    )
    assert found(fault_took_effect(), replace(every, path_states=looks)).verdict is Verdict.PASS


@pytest.mark.parametrize("check", [throughput_held(at_least=0.9), latency_held(at_most=5)])
def test_there_is_nothing_to_compare_while_i_o_is_held(check: Check) -> None:
    finding = found(check, of_held())
    assert finding.verdict is Verdict.PASS
    assert finding.message == "I/O had to wait until healing, so there is nothing to compare"


def proving(*at_s: float) -> Measurements:
    """The path goes on, and these samples prove by themselves that it is worse."""
    busy = with_counters(good(), "a", lambda c: carrying(c, INJECTED, HEALED_NS, 1_000_000))
    (fault,) = busy.faults
    samples = tuple(
        MeansSample("NonOptimized(c1)", INJECTED + s * NS_PER_S, proves=s in at_s)
        for s in range(1, 14)
    )
    return replace(busy, faults=(replace(fault, limping=("a",), means_samples=samples),))


def test_a_sample_may_prove_by_itself_that_a_path_is_worse() -> None:
    """Often enough."""
    assert found(fault_took_effect(), proving(1, 5, 9, 13)).verdict is Verdict.PASS
    for at_s, says in (
        ((1, 9, 13), "what NonOptimized(c1) did was not seen for 8.0 s"),
        ((), "nothing shows that NonOptimized(c1) did anything"),
    ):
        finding = found(fault_took_effect(), proving(*at_s))
        assert finding.verdict is Verdict.UNKNOWN
        assert finding.message == says


def test_each_part_that_could_prove_itself_has_to() -> None:
    """However short the fault is, and whatever another part counts."""
    measured = proving(1, 5, 9, 13)
    (fault,) = measured.faults
    other = tuple(
        replace(sample, part="StorageHangs(target)", proves=False) for sample in fault.means_samples
    )
    both = replace(fault, means_samples=(*fault.means_samples, *other))
    finding = found(fault_took_effect(), replace(measured, faults=(both,)))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.message == "nothing shows that StorageHangs(target) did anything"


def test_a_machine_that_a_fault_stopped_has_a_clock_that_stood_still() -> None:
    """It took no samples, either. Of any other machine that is a defect."""
    moved = clocks(-600 * NS_PER_MS)
    seldom = tuple(
        replace(
            watching,
            at_ns=watching.at_ns[::2],
            wall_ahead_ns=watching.wall_ahead_ns[::2],
            cpu_ns=watching.cpu_ns[::2],
        )
        if watching.machine == "target"
        else watching
        for watching in moved.watching
    )
    strange = replace(moved, watching=seldom)
    assert found(evidence_sound(), strange).verdict is Verdict.UNKNOWN
    for machine, verdict in (("target", Verdict.PASS), ("initiator", Verdict.UNKNOWN)):
        (fault,) = strange.faults
        stopped = replace(strange, faults=(replace(fault, stopped=(machine,)),))
        assert found(evidence_sound(), stopped).verdict is verdict


def test_disks_that_a_fault_holds_up_are_not_the_labs_fault() -> None:
    """Only while it lasts."""
    for start_ns, holds, verdict in (
        (INJECTED + NS_PER_S, True, Verdict.PASS),
        (INJECTED + NS_PER_S, False, Verdict.UNKNOWN),
        (START + 2 * NS_PER_S, True, Verdict.UNKNOWN),
        (HEALED_NS + 2 * NS_PER_S, True, Verdict.UNKNOWN),
    ):
        still = with_disk(disk(2, start_ns=start_ns))
        (fault,) = still.faults
        still = replace(still, faults=(replace(fault, disks_held=holds),))
        finding = found(lab_disks_sound(), still)
        assert finding.verdict is verdict
        told = finding.figures["vda of the target"]
        assert told.endswith(" (held up by a fault)") is (verdict is Verdict.PASS)
