"""Whether the map's path groups are those of the policy, and priorities those of the states; pure.

Sources: multipath.conf(5) for `path_grouping_policy`, `detect_pgpolicy` and
`detect_pgpolicy_use_tpg`; libmultipath/pgpolicies.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.config.model import PathGrouping
from harness.errors import Problem
from harness.topology import Path, Topology
from harness.transport.dm_multipath.maps import MapPath


@dataclass(frozen=True)
class Known:
    """A path of the topology with the group that it is in, from 0 on, and its priority.

    The priority of a path that is not `active` may be an old one, or none at all.
    """

    path: Path
    group: int
    priority: int
    active: bool


def group_problems(
    wwid: str,
    topology: Topology,
    policy: PathGrouping,
    groups: Sequence[Sequence[MapPath]],
    reached: Mapping[str, tuple[str, ...]],
    *,
    detects: Callable[[], bool] = lambda: False,
) -> Iterator[Problem]:
    """What of a LUN's path groups is not as planned; `reached`: path -> names of its disks.

    `detects` is asked only if the groups are others: whether multipathd takes group_by_prio, or
    group_by_tpg, for the LUN because it found ALUA. What is not in the map, or no path, is for
    others to tell of.
    """
    paths = {disk: topology.path(path) for path, disks in reached.items() for disk in disks}
    known = [
        Known(paths[one.disk], number, one.priority, one.dm_state == "active")
        for number, group in enumerate(groups)
        for one in group
        if one.disk in paths
    ]
    active = [one for one in known if one.active]
    # Where portals of one controller differ, it follows that some seem to be exchanged.
    yield from list(_unlike(topology, active)) or _exchanged(topology, active)
    if policy == "group_by_prio":  # in which group a failed path belongs is not known
        known = active
    expected = _partition(known, policy)
    found = _parted([(one.path.name, one.group) for one in known])
    if found == expected:
        return
    differ = (
        f"the map of {wwid} has {_counted(found)}, and path_grouping_policy {policy} makes "
        f"{_counted(expected)}"
    )
    by_priority = found == _partition(known, "group_by_prio")
    by_controller = found == _parted([(one.path.name, one.path.portal.controller) for one in known])
    chosen = (by_priority or by_controller) and detects()
    if chosen and by_priority:
        yield Problem(
            f"{differ}: multipathd has found ALUA and groups paths by priority, as "
            "detect_pgpolicy says (multipath.conf(5))",
            'path_grouping_policy = "group_by_prio" in [initiator]; or `detect_pgpolicy no` in the '
            "section of the array in multipath.conf there, and `multipathd reconfigure`",
        )
    elif chosen:
        yield Problem(
            f"{differ}: multipathd has found ALUA and groups paths by target port group, as "
            "detect_pgpolicy and detect_pgpolicy_use_tpg say (multipath.conf(5))",
            "`detect_pgpolicy no` in the section of the array in multipath.conf there; for "
            "group_by_prio `detect_pgpolicy_use_tpg no`; and `multipathd reconfigure`",
        )
    else:
        yield Problem(
            f"{differ}: the policy is not in force, or paths have another priority",
            "`multipathd show config local` shows the policy for this LUN; a later section of "
            "multipath.conf (multipaths, overrides) or a file in conf.d may set another one",
        )


def _partition(known: list[Known], policy: PathGrouping) -> list[tuple[str, ...]]:
    """The groups that a policy makes: which paths are together."""

    def mark(one: Known) -> str:
        match policy:
            case "failover":
                return one.path.name
            case "group_by_prio":
                return str(one.priority)
            case "group_by_node_name":
                return one.path.portal.iqn or ""  # of all others it is one, the LUN's target's
            case "multibus" | "group_by_serial":  # there is one LUN, and so one serial number
                return ""

    return _parted([(one.path.name, mark(one)) for one in known])


def _parted(marks: Sequence[tuple[str, str | int]]) -> list[tuple[str, ...]]:
    """The names with the same mark together, in one order whatever that of the groups is."""
    together: dict[str | int, list[str]] = {}
    for name, mark in marks:
        together.setdefault(mark, []).append(name)
    return sorted(tuple(sorted(names)) for names in together.values())


def _counted(groups: list[tuple[str, ...]]) -> str:
    """As in "2 path groups (a1 b1; a2 b2)"."""
    title = "1 path group" if len(groups) == 1 else f"{len(groups)} path groups"
    return f"{title} ({'; '.join(' '.join(names) for names in groups)})"


def _unlike(topology: Topology, known: list[Known]) -> Iterator[Problem]:
    """All paths to one controller have one priority, since its portals have one access state."""
    for controller in topology.controllers:
        there = [one for one in known if one.path.portal.controller == controller.name]
        if len({one.priority for one in there}) > 1:
            priorities = ", ".join(f"{one.path.name} {one.priority}" for one in there)
            yield Problem(
                f"the paths to controller {controller.name}, whose portals are to be alike, have "
                f"different priorities ({priorities}): the target does not tell one access state "
                "at all of them, or the prioritizer does not ask for it",
                "`sg_rtpg --decode` over each path shows the access states; give the portals of a "
                "controller one state on the target, or each a controller of its own in "
                "[[controllers]]; `prio` must be alua",
            )


def _exchanged(topology: Topology, known: list[Known]) -> Iterator[Problem]:
    """Each path to an optimized portal has a higher priority than each to a non-optimized one."""
    by_state: dict[str, list[Known]] = {"optimized": [], "non-optimized": []}
    for one in known:
        by_state[topology.access_state(one.path.portal)].append(one)
    good, poor = by_state["optimized"], by_state["non-optimized"]
    if not (good and poor):
        return
    lowest = min(good, key=lambda one: one.priority)
    highest = max(poor, key=lambda one: one.priority)
    if lowest.priority <= highest.priority:
        yield Problem(
            f"path {lowest.path.name}, to an optimized portal (controller "
            f"{lowest.path.portal.controller}), has priority {lowest.priority}, and path "
            f"{highest.path.name}, to a non-optimized one (controller "
            f"{highest.path.portal.controller}), has {highest.priority}: the target tells other "
            "access states, or the prioritizer does not ask for them",
            "`sg_rtpg --decode` over each path shows the access states; exchange those of the "
            "portals on the target or in [[controllers]]; `prio` must be alua",
        )
