"""Preflight: path groups that are not those of the policy, and access states that are exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import load
from harness.config.model import PathGrouping
from harness.errors import CommandTimedOut
from harness.topology import plan
from harness.transport.devices import BlockDevice
from harness.transport.dm_multipath.maps import MapPath
from harness.transport.fitness import look
from harness.transport.fitness.groups import group_problems
from harness.transport.fitness.paths import Facts
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

WWID = "360014057043dfe0435de773ca03bbf04"
TWO, CONTROLLERS = (
    plan(load(None, {"topology": (name, "--topology")}).config)
    for name in ("two", "two-controllers")
)
GROUPED = {
    "failover": [["a1"], ["a2"], ["b1"], ["b2"]],
    "multibus": [["a1", "a2", "b1", "b2"]],
    "group_by_serial": [["b2", "a1", "a2", "b1"]],
    "group_by_prio": [["a2", "b2"], ["a1", "b1"]],
    "group_by_node_name": [["a1", "a2", "b1", "b2"]],
}
PRIORITIES = {"a1": 50, "b1": 50, "a2": 10, "b2": 10}
REACHED = {name: (f"sd{name}",) for name in PRIORITIES}


def on_disk(name: str, priority: int, *, failed: bool = False) -> MapPath:
    states = ("failed", "faulty") if failed else ("active", "ready")
    return MapPath(name, "8:0", *states, priority)


def group_causes(
    policy: PathGrouping,
    groups: list[list[str]],
    priorities: Mapping[str, int] = PRIORITIES,
    *,
    detects: bool = False,
    failed: str = "",
) -> list[str]:
    found = [
        [on_disk(f"sd{name}", priorities[name], failed=name == failed) for name in names]
        for names in groups
    ]
    problems = group_problems(WWID, CONTROLLERS, policy, found, REACHED, detects=lambda: detects)
    return [problem.cause for problem in problems]


@pytest.mark.parametrize("policy", GROUPED)
def test_the_groups_of_a_policy_are_no_problem(policy: PathGrouping) -> None:
    """In whatever order multipathd has them: they are sorted by priority."""
    assert group_causes(policy, GROUPED[policy]) == []


def test_a_policy_that_is_not_in_force_is_told_with_both() -> None:
    (cause,) = group_causes("failover", GROUPED["multibus"])
    assert cause == (
        f"the map of {WWID} has 1 path group (a1 a2 b1 b2), and path_grouping_policy failover "
        "makes 4 path groups (a1; a2; b1; b2): the policy is not in force, or paths have another "
        "priority"
    )
    for policy, found in (("group_by_prio", "failover"), ("multibus", "group_by_prio")):
        (cause,) = group_causes(policy, GROUPED[found])  # type: ignore[arg-type]  # a name of one
        assert cause.startswith(f"the map of {WWID} has {len(GROUPED[found])} path groups (")


def test_a_policy_that_multipathd_has_chosen_by_itself_is_told_as_the_cause() -> None:
    """Only where the groups are those by priority; else another cause is to be found."""
    (cause,) = group_causes("failover", GROUPED["group_by_prio"], detects=True)
    assert cause.endswith(
        "multipathd has found ALUA and groups paths by priority, as detect_pgpolicy says "
        "(multipath.conf(5))"
    )
    (cause,) = group_causes("failover", GROUPED["multibus"], detects=True)
    assert "detect_pgpolicy" not in cause
    assert group_causes("group_by_prio", GROUPED["group_by_prio"], detects=True) == []


def test_groups_by_target_port_group_may_be_multipathds_own_choice_too() -> None:
    """With one priority for both controllers, as in the same access state: no groups by that."""
    same = dict.fromkeys(PRIORITIES, 50)
    by_controller = GROUPED["group_by_prio"]
    *_, cause = group_causes("multibus", by_controller, same, detects=True)
    assert cause.endswith(
        "multipathd has found ALUA and groups paths by target port group, as detect_pgpolicy and "
        "detect_pgpolicy_use_tpg say (multipath.conf(5))"
    )
    *_, cause = group_causes("multibus", by_controller, same)
    assert "the policy is not in force" in cause


@pytest.mark.parametrize("ends", ["fails", "takes too long"])
def test_groups_are_told_though_the_disk_does_not_say_what_it_is(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are read to see whether multipathd chooses the policy: the disk may be gone."""
    maps = (Path(__file__).parent / "recorded" / "multipathd-0.9.4-maps.json").read_text()

    def answer(asked: Asked) -> Answer:
        if asked.argv[0] == "multipathd":
            return Answer(maps)
        if ends == "fails":
            return Answer(stderr="cat: /sys/block/sda/device/vendor: No such file", status=1)
        raise CommandTimedOut(
            machine="scripted", argv=asked.argv, stdout="", stderr="", elapsed_s=15
        )

    device = BlockDevice("dm-0", "253:0", 1, ("sda", "sdb"), WWID, f"mpath-{WWID}")
    facts = Facts((), {"a": ("sda",), "b": ("sdb",)}, (device,))
    monkeypatch.setattr(look, "facts_now", lambda _: facts)
    initiator = SimpleNamespace(
        machine=ScriptedMachine(answer),
        wwids=(WWID,),
        topology=TWO,
        grouping="failover",
        planned_sessions=tuple,
    )
    (problem,) = look.fitness(cast(Any, initiator), ()).problems
    assert "makes 2 path groups (a; b): the policy is not in force" in problem.cause


def test_access_states_that_are_exchanged_are_told() -> None:
    """By the priorities; without one of its own neither state is told."""
    exchanged = {"a1": 10, "b1": 10, "a2": 50, "b2": 50}
    (cause,) = group_causes("group_by_prio", GROUPED["group_by_prio"], exchanged)
    assert cause.startswith(
        "path a1, to an optimized portal (controller c1), has priority 10, and path a2, to a "
        "non-optimized one (controller c2), has 50: "
    )
    (cause,) = group_causes("multibus", GROUPED["multibus"], dict.fromkeys(PRIORITIES, 1))
    assert "has priority 1, and path a2" in cause


def test_access_states_that_differ_within_a_controller_are_told() -> None:
    """However high they are: all its portals are planned alike."""
    apart = GROUPED["failover"]
    told = (
        "the paths to controller c1, whose portals are to be alike, have different priorities "
        "(a1 10, b1 1): "
    )
    for low in (0, 1):
        priorities = {"a1": 10, "b1": 1, "a2": low, "b2": low}
        (cause,) = group_causes("failover", apart, priorities)
        assert cause.startswith(told)
    (cause,) = group_causes("failover", apart, PRIORITIES | {"b2": 1})
    assert cause.startswith(
        "the paths to controller c2, whose portals are to be alike, have different priorities "
        "(a2 10, b2 1): "
    )
    alike = dict.fromkeys(("a1", "b1"), 10) | dict.fromkeys(("a2", "b2"), 1)
    assert group_causes("failover", apart, alike) == []


@pytest.mark.parametrize("priority", [-1, 0, 10])
def test_the_priority_of_a_failed_path_is_nobodys(priority: int) -> None:
    """It may be that of another time: no portals that differ follow, nor exchanged or wrong groups.

    Its group is wrong all the same where groups are not by priority.
    """
    changed = PRIORITIES | {"a1": priority}
    for policy in ("failover", "group_by_prio"):
        causes = group_causes(policy, GROUPED[policy], changed, failed="a1")
        assert causes == []
    (cause,) = group_causes("multibus", [["a1"], ["b1", "a2", "b2"]], changed, failed="a1")
    assert "the policy is not in force" in cause
    alone = [["a1"], ["a2", "b2"]]
    priorities = {"a1": priority, "a2": 10, "b2": 10}
    assert not any(
        "access states" in cause
        for cause in group_causes("multibus", alone, priorities, failed="a1")
    )


def test_what_is_not_in_the_map_is_for_others_to_tell_of() -> None:
    """As a disk that no path has is."""
    assert group_causes("failover", GROUPED["failover"][:2]) == []
    stranger = [[on_disk("sdx", 50)]]
    assert list(group_problems(WWID, TWO, "failover", stranger, {"a": ("sda",)})) == []
