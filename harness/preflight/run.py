"""Preflight on a real initiator: look until all is as planned, or stays otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from harness.deadline import Deadline, poll
from harness.errors import (
    CommandFailed,
    CommandTimedOut,
    InitiatorError,
    PreflightFailed,
    Problem,
    TimedOut,
)
from harness.preflight.groups import GROUPS_ARGV, group_problems, parse_groups
from harness.preflight.handlers import Handlers, look_at_handlers
from harness.preflight.paths import Facts, Wanted, path_problems
from harness.preflight.wiring import End, wiring_problems
from harness.steps import Spent, step
from harness.target.external import UNNAMED
from harness.transport import Initiator
from harness.transport.devices import Survey

# Disks, map and timeouts appear one after another when a session is new; under TCG it took 4 s.
_PATIENCE_S = 90.0
_UNCHANGED_S = 20.0
_LOOK_TIMEOUT_S = 15.0
_LOOK_YOURSELF = "`iscsiadm -m session -P 3` and `multipath -ll` there may say more"


def require_fit(
    initiator: Initiator, *, serials: Sequence[str | None] = (), ends: Sequence[End] = ()
) -> Facts:
    """Wait until wiring, sessions, paths and maps are as planned; returns the last three.

    `serials` are the unit serial numbers that the LUNs must have, where they are known; `ends` are
    the machines whose NICs are looked at, once the rest is as planned or stays otherwise. Raises
    PreflightFailed once what is wrong has not changed for some time.
    """
    luns = [
        (None if wwid == UNNAMED else wwid, serial)
        for wwid, serial in zip_longest(initiator.wwids, serials)
    ]
    facts = Facts((), {}, ())
    problems: list[Problem] = []
    seen: list[Problem] = []
    unchanged = Deadline.after(_UNCHANGED_S)

    def look() -> list[Problem]:
        nonlocal facts
        try:
            facts = facts_now(initiator)
            # What multipathd will set is known once it has taken up its configuration and the LUN.
            planned, preferences = initiator.planned_sessions(), _has_preferences(initiator)
            found = [
                problem
                for wwid, serial in luns
                for problem in path_problems(Wanted(planned, wwid, serial, preferences), facts)
            ]
            found += _of_groups(initiator, facts)
            return list(dict.fromkeys(found))  # what is wrong with a session is so for every LUN
        except (InitiatorError, CommandFailed, CommandTimedOut) as error:
            # Such as a session of which not all is there yet, or one that goes while it is read.
            return [Problem(error.message, error.hint or _LOOK_YOURSELF)]

    def settled() -> bool:
        nonlocal problems, seen, unchanged
        before, seen_before = problems, seen
        problems = seen = look()
        if not seen or seen == seen_before:  # else sessions and paths are still coming up
            problems = [*_of_wiring(initiator, ends), *seen]  # the cause of others, if any
        if problems != before:
            unchanged = Deadline.after(_UNCHANGED_S)
        return not problems or unchanged.expired

    with step("Preflight: sessions, paths and maps", Spent.PROVISIONING):
        try:
            poll(settled, what="preflight", deadline=Deadline.after(_PATIENCE_S), every_s=0.5)
        except TimedOut:  # of the poll: what a look raises is among the problems
            raise PreflightFailed(problems) from None
    if problems:
        raise PreflightFailed(problems)
    return facts


def _of_wiring(initiator: Initiator, ends: Sequence[End]) -> list[Problem]:
    try:
        return wiring_problems(initiator.topology, ends)
    except (CommandFailed, CommandTimedOut) as error:
        return [Problem(error.message, error.hint or "`ip address` and `ip route` there say more")]


def _of_groups(initiator: Initiator, facts: Facts) -> list[Problem]:
    """What is wrong with the path groups of those maps that there are."""
    wwids = [wwid for wwid in initiator.wwids if facts.map(wwid) is not None]
    if not wwids:
        return []
    answer = initiator.machine.run(GROUPS_ARGV, timeout_s=_LOOK_TIMEOUT_S, check=False)
    topology, policy = initiator.topology, initiator.grouping
    return [
        problem
        for wwid in wwids
        for problem in group_problems(
            wwid,
            topology,
            policy,
            parse_groups(answer.stdout or answer.stderr, wwid),
            facts.reached,
        )
    ]


def facts_now(initiator: Initiator) -> Facts:
    """What the initiator has at this moment."""
    survey = initiator.survey()
    reached: dict[str, tuple[str, ...]] = {}
    elsewhere = []
    for session in survey.sessions:
        path = initiator.path_of(session)
        if path is None:
            elsewhere.append(f"{session.name} to {session.portal or session.address}")
            continue
        disks = tuple(disk.name for disk in session.disks)
        reached[path.name] = reached.get(path.name, ()) + disks
    return Facts(
        initiator.settings_of(survey.sessions),
        reached,
        survey.devices,
        elsewhere=tuple(elsewhere),
        handlers=_handlers_now(initiator, survey),
    )


def _handlers_now(initiator: Initiator, survey: Survey) -> dict[str, Handlers]:
    """Those of each LUN's map and its disks, by WWID; a LUN without a map is left out."""
    maps = {
        wwid: device
        for wwid in initiator.wwids
        for device in survey.devices
        if device.is_map_of(wwid)
    }
    return {
        wwid: look_at_handlers(initiator.machine, device.dm_name, device.below)
        for wwid, device in maps.items()
    }


def _has_preferences(initiator: Initiator) -> bool:
    """Whether the testbed is about access states, which without a handler are words only."""
    states = {controller.access_state for controller in initiator.topology.controllers}
    return initiator.grouping == "group_by_prio" or len(states) > 1
