"""Several initiators: what is judged of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.analysis.outage import settled_outage
from harness.budget import Budget, BudgetTerm
from harness.checks import Verdict, data_intact, fault_took_effect, judge, stall_within_budget
from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import CutShort, TimedOut
from harness.measurements import (
    MAP,
    BlockFinding,
    Damage,
    FioErrors,
    Measurements,
    ReadBack,
)
from harness.observe import MapSample, Sample
from harness.steps import Spent
from harness.testbed.map_view import MapView, wait_for_all_but
from harness.topology import Role, plan
from harness.transport import PathDisk
from harness.units import NS_PER_S
from suites.selftest.unit.judged import good

TWO = plan(Config.model_validate(ready_topologies()["two-initiators"]))
FIRST, SECOND = "initiator", "second"


def view(name: str, machine: str, states: dict[str, str]) -> MapView:
    """Of an observer that has one look, and then no time left."""

    def wait_for(condition: Callable[[Sample], bool], *, what: str, **_: object) -> None:
        if not condition(Sample(0, {}, {name: MapSample(states)}, {}, {}, 0, 0)):
            raise TimedOut(f"{machine}: {what}")

    (planned,) = (one for one in TWO.maps if one.name == f"{machine}/{name}")
    paths = [PathDisk(path.name, "", "") for path in TWO.of(machine).paths]
    observer: Any = SimpleNamespace(wait_for=wait_for)
    return MapView(
        observer, planned, cast(Any, SimpleNamespace(map_name=name)), paths, lambda: None
    )


def test_each_initiator_loses_its_own_paths() -> None:
    """The other one keeps all."""
    whole = {"8:0": "active", "8:16": "active"}
    lost = whole | {"8:16": "failed"}
    first, second = view("lun0", FIRST, whole), view("lun1", SECOND, lost)
    wait_for_all_but((first, second), None, ("second-b",), spent_on=Spent.WAITING)
    with pytest.raises(CutShort, match=r"^initiator: .*; second: "):
        wait_for_all_but((first, second), None, ("a",), spent_on=Spent.WAITING)
    with pytest.raises(CutShort, match=r"^second: every path active"):
        wait_for_all_but((first, second), None, (), spent_on=Spent.WAITING)


def test_a_path_that_has_left_its_map_is_lost() -> None:
    """As one does whose disk is gone; but a map that could not be read says nothing."""
    gone, unread = ({"8:0": "active"}, dict[str, str]())
    wait_for_all_but((view("lun0", FIRST, gone),), None, ("b",), spent_on=Spent.WAITING)
    for states, lost in ((gone, ()), (unread, ("a", "b")), (gone | {"8:16": "failed"}, ())):
        with pytest.raises(CutShort):
            wait_for_all_but((view("lun0", FIRST, states),), None, lost, spent_on=Spent.WAITING)


def elsewhere(slack_s: float) -> Measurements:
    """A failover as another initiator had it: paths a and b are healthy, and it stalled 2.94 s."""
    measured = good()
    (fault,) = measured.faults
    slack = Budget((BudgetTerm("slack", slack_s, "budget.slack_s"),))
    return replace(measured, faults=(replace(fault, paths=(), budget=slack, returning=slack),))


def test_a_stall_beyond_the_slack_is_felt_by_an_initiator_that_lost_nothing() -> None:
    """That is what a second initiator is there for."""
    (found,) = judge(elsewhere(1.0), stall_within_budget()).findings
    assert found.verdict is Verdict.FAIL
    assert "stall 2.940 s" in found.message or "2.94 s" in found.message
    assert judge(elsewhere(3.0), stall_within_budget()).verdict is Verdict.PASS


def test_a_path_that_stops_though_the_fault_hits_another_initiator_is_told() -> None:
    """Path a carried nothing; none of this initiator's paths was to be lost."""
    (found,) = judge(elsewhere(1.0), fault_took_effect()).findings
    assert (found.verdict, found.message) == (
        Verdict.FAIL,
        "path a (sda) did not take over during SilentDrop(a)",
    )


def test_the_fault_of_another_initiator_is_compared_for_as_long_as_it_lasts() -> None:
    """A pause near its end, of whatever cause, leaves no time after it; it is no loss of paths."""
    measured = elsewhere(3.0)
    (fault,) = measured.faults
    during = settled_outage(measured, fault)
    assert during is not None
    assert during.start_ns == fault.confirmed_ns + NS_PER_S // 4
    assert during.end_ns == fault.ordered_ns


def test_what_an_initiator_only_reads_is_intact_if_fio_verified_it() -> None:
    """It has no ledger; that is unknown of one that should have written."""
    reads = replace(
        good(),
        read_back=None,
        streams=tuple(replace(one, verified=True) for one in good().streams),
    )
    assert judge(reads, data_intact()).verdict is Verdict.UNKNOWN
    only = replace(reads, read_only=True, read_back=ReadBack(0, 0, {}, compared=9))
    assert judge(only, data_intact()).verdict is Verdict.PASS
    assert judge(replace(only, read_back=None), data_intact()).verdict is Verdict.UNKNOWN
    changed = BlockFinding(0, MAP, Damage.CHANGED)
    other = replace(only, read_back=ReadBack(0, 0, {}, changed=(changed,)))
    assert judge(other, data_intact()).verdict is Verdict.FAIL
    wrong = replace(
        only, streams=tuple(replace(s, errors=FioErrors(84, 1, 1)) for s in only.streams)
    )
    assert judge(wrong, data_intact()).verdict is Verdict.FAIL
    blind = replace(only, streams=tuple(replace(s, verified=False) for s in only.streams))
    (finding,) = judge(blind, data_intact()).findings
    assert (finding.verdict, finding.same_again) == (Verdict.UNKNOWN, True)
    (finding,) = judge(replace(only, streams=()), data_intact()).findings
    assert (finding.verdict, finding.same_again) == (Verdict.UNKNOWN, False)


def test_a_role_is_no_name_of_a_further_machine() -> None:
    assert [TWO.role(name) for name in ("target", FIRST, SECOND)] == [
        Role.TARGET,
        Role.INITIATOR,
        Role.INITIATOR,
    ]
