"""A look at an initiator: what of its sessions, paths and maps is not as planned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from harness.concurrency import both
from harness.errors import CommandFailed, CommandTimedOut, InitiatorError, Problem
from harness.transport import in_force
from harness.transport.base import Fitness, WantedLun
from harness.transport.devices import Survey
from harness.transport.dm_multipath.effective_config import detects_grouping
from harness.transport.dm_multipath.maps import MAPS_ARGV, find_map
from harness.transport.fitness.groups import group_problems
from harness.transport.fitness.handlers import Handlers, look_at_handlers
from harness.transport.fitness.paths import Facts, Wanted, path_problems

if TYPE_CHECKING:
    from harness.transport.initiator import IscsiInitiator

_LOOK_TIMEOUT_S = 15.0


def fitness(initiator: IscsiInitiator, luns: Sequence[WantedLun]) -> Fitness:
    """What is wrong at this moment, each once, and what a run does without.

    Raises InitiatorError, CommandFailed or CommandTimedOut while not all of it is there yet.
    """
    facts, maps = both(lambda: facts_now(initiator), lambda: _shown_maps(initiator))
    # What multipathd will set is known once it has taken up its configuration and the LUN.
    planned, preferences = initiator.planned_sessions(), _has_preferences(initiator)
    several = len({lun.targets for lun in luns}) > 1
    found = [
        problem
        for lun in luns
        for problem in path_problems(
            Wanted(
                tuple(one for one in planned if one.target in lun.targets),
                lun.wwid,
                lun.serial,
                preferences,
                target=lun.targets[0] if several else "",
            ),
            facts,
        )
    ]
    found += _of_groups(initiator, facts, maps)
    # What is wrong with a session is so for every LUN.
    return Fitness(tuple(dict.fromkeys(found)), facts.lacking)


def _shown_maps(initiator: IscsiInitiator) -> str:
    """What multipathd shows of its maps, or why it does not."""
    answer = initiator.machine.run(MAPS_ARGV, timeout_s=_LOOK_TIMEOUT_S, check=False)
    return answer.stdout or answer.stderr


def _of_groups(initiator: IscsiInitiator, facts: Facts, shown: str) -> list[Problem]:
    """What is wrong with the path groups of those maps that there are."""
    wwids = [wwid for wwid in initiator.wwids if facts.map(wwid) is not None]
    if not wwids:
        return []
    maps = {wwid: find_map(shown, wwid) for wwid in wwids}
    topology, policy = initiator.topology, initiator.grouping
    return [
        problem
        for wwid, found in maps.items()
        for problem in group_problems(
            *(wwid, topology, policy, found.groups if found else (), facts.reached),
            detects=partial(_detects_grouping, initiator, facts, wwid),
        )
    ]


def _detects_grouping(initiator: IscsiInitiator, facts: Facts, wwid: str) -> bool:
    """Whether multipathd chooses the policy of the LUN by itself."""
    found = facts.map(wwid)
    if found is None or not found.below:
        return False
    try:
        identity = in_force.scsi_identity(initiator.machine, found.below[0])
        return detects_grouping(in_force.multipathd_config(initiator.machine), identity)
    except (InitiatorError, CommandFailed, CommandTimedOut):  # the groups are told all the same
        return False


def facts_now(initiator: IscsiInitiator) -> Facts:
    """What the initiator has at this moment."""
    survey = initiator.survey()
    reached: dict[str, tuple[str, ...]] = {}
    targets: dict[str, str] = {}
    elsewhere = []
    for session in survey.sessions:
        path = initiator.path_of(session)
        if path is None:
            several = len(initiator.topology.target_iqns) > 1
            target = f" with target {session.target}" if several else ""
            elsewhere.append(f"{session.name} to {session.portal or session.address}{target}")
            continue
        disks = tuple(disk.name for disk in session.disks)
        targets |= dict.fromkeys(disks, session.target)
        reached[path.name] = reached.get(path.name, ()) + disks
    return Facts(
        initiator.settings_of(survey.sessions),
        reached,
        survey.devices,
        elsewhere=tuple(elsewhere),
        handlers=_handlers_now(initiator, survey),
        targets=targets,
    )


def _handlers_now(initiator: IscsiInitiator, survey: Survey) -> dict[str, Handlers]:
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


def _has_preferences(initiator: IscsiInitiator) -> bool:
    """Whether the testbed is about access states, which without a handler are words only."""
    states = {controller.access_state for controller in initiator.topology.controllers}
    return initiator.grouping == "group_by_prio" or len(states) > 1
