"""Preflight: path groups that are not those of the policy, and access states that are exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.config import load
from harness.config.model import PathGrouping
from harness.errors import InitiatorError
from harness.topology import plan
from harness.transport.fitness.groups import Member, group_problems, parse_groups

MAPS = (Path(__file__).parent / "recorded" / "multipathd-0.9.4-maps.json").read_text()
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


def group_causes(
    policy: PathGrouping, groups: list[list[str]], priorities: Mapping[str, int] = PRIORITIES
) -> list[str]:
    members = tuple(tuple(Member(f"sd{n}", priorities[n]) for n in names) for names in groups)
    return [p.cause for p in group_problems(WWID, CONTROLLERS, policy, members, REACHED)]


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


def test_what_is_not_in_the_map_is_for_others_to_tell_of() -> None:
    """As a disk that no path has is."""
    assert group_causes("failover", GROUPED["failover"][:2]) == []
    stranger = ((Member("sdx", 50),),)
    assert list(group_problems(WWID, TWO, "failover", stranger, {"a": ("sda",)})) == []


def test_groups_are_read() -> None:
    """Of one map; another answer is an error."""
    assert parse_groups(MAPS, WWID) == ((Member("sda", 50), Member("sdb", 50)),)
    assert parse_groups(MAPS, "36") == ()
    with pytest.raises(InitiatorError, match="ends in: timeout"):
        parse_groups("timeout\n", WWID)
