"""Preflight on a real initiator: look until all is as planned, or stays otherwise."""

from __future__ import annotations

from harness.deadline import Deadline, poll
from harness.errors import (
    CommandFailed,
    CommandTimedOut,
    InitiatorError,
    PreflightFailed,
    Problem,
    TimedOut,
)
from harness.initiator import Initiator
from harness.initiator.devices import Survey
from harness.preflight.handlers import Handlers, look_at_handlers
from harness.preflight.paths import Facts, Wanted, path_problems
from harness.steps import Spent, step
from harness.target.external import UNNAMED

# Disks, map and timeouts appear one after another when a session is new; under TCG it took 4 s.
_PATIENCE_S = 90.0
_UNCHANGED_S = 20.0
_LOOK_YOURSELF = "`iscsiadm -m session -P 3` and `multipath -ll` there may say more"


def require_fit(initiator: Initiator, *, serial: str | None = None) -> Facts:
    """Wait until sessions, paths and map are as planned; returns them as they are.

    `serial` is the unit serial number that the LUN must have, if it is known. Raises
    PreflightFailed once what is wrong has not changed for some time.
    """
    wwid = None if initiator.wwid == UNNAMED else initiator.wwid
    facts = Facts((), {}, ())
    problems: list[Problem] = []
    unchanged = Deadline.after(_UNCHANGED_S)

    def settled() -> bool:
        nonlocal facts, problems, unchanged
        try:
            facts = facts_now(initiator)
            # What multipathd will set is known once it has taken up its configuration and the LUN.
            wanted = Wanted(
                initiator.planned_sessions(), wwid, serial, preferences=_has_preferences(initiator)
            )
            found = path_problems(wanted, facts)
        except (InitiatorError, CommandFailed, CommandTimedOut) as error:
            # Such as a session of which not all is there yet, or one that goes while it is read.
            found = [Problem(error.message, error.hint or _LOOK_YOURSELF)]
        before, problems = problems, found
        if problems != before:
            unchanged = Deadline.after(_UNCHANGED_S)
        return not problems or unchanged.expired

    with step("Preflight: sessions, paths and map", Spent.PROVISIONING):
        try:
            poll(settled, what="preflight", deadline=Deadline.after(_PATIENCE_S), every_s=0.5)
        except TimedOut:  # of the poll: what a look raises is among the problems
            raise PreflightFailed(problems) from None
    if problems:
        raise PreflightFailed(problems)
    return facts


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


def _handlers_now(initiator: Initiator, survey: Survey) -> Handlers:
    """Those of the LUN's map and its disks; none if there is no map."""
    found = next((one for one in survey.devices if one.is_map_of(initiator.wwid)), None)
    if found is None:
        return Handlers()
    return look_at_handlers(initiator.machine, found.dm_name, found.below)


def _has_preferences(initiator: Initiator) -> bool:
    """Whether the testbed is about access states, which without a handler are words only."""
    states = {controller.access_state for controller in initiator.topology.controllers}
    return initiator.grouping == "group_by_prio" or len(states) > 1
