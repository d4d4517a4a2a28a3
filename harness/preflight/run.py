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
from harness.preflight.masking import Masking, look_at_masking
from harness.preflight.wiring import End, wiring_problems
from harness.steps import Spent, step
from harness.target.external import UNNAMED
from harness.transport import Fitness, Initiator, WantedLun

# Disks, map and timeouts appear one after another when a session is new; under TCG it took 4 s.
_PATIENCE_S = 90.0
_UNCHANGED_S = 20.0


def require_fit(
    initiator: Initiator,
    *,
    serials: Sequence[str | None] = (),
    ends: Sequence[End] = (),
    masking: Masking | None = None,
) -> Fitness:
    """Wait until wiring, sessions, paths and maps are as planned; returns the last look.

    `serials` are the unit serial numbers that the LUNs must have, where they are known; `ends` are
    the machines whose NICs are looked at, once the rest is as planned or stays otherwise. `masking`
    is what the initiator may see, where there are several. Raises PreflightFailed once what is
    wrong has not changed for some time.
    """
    topology = initiator.topology
    luns = [
        WantedLun(None if wwid == UNNAMED else wwid, serial, topology.iqns_of(lun))
        for lun, wwid, serial in zip_longest(topology.luns, initiator.wwids, serials)
    ]
    last = Fitness()
    problems: list[Problem] = []
    seen: list[Problem] = []
    unchanged = Deadline.after(_UNCHANGED_S)

    def look() -> list[Problem]:
        nonlocal last
        try:
            last = initiator.fitness(luns)
            masked = look_at_masking(initiator.machine, masking) if masking else []
        except (InitiatorError, CommandFailed, CommandTimedOut) as error:
            # Such as a session of which not all is there yet, or one that goes while it is read.
            return [Problem(error.message, error.hint or initiator.look_yourself)]
        return [*last.problems, *masked]

    def settled() -> bool:
        nonlocal problems, seen, unchanged
        before, seen_before = problems, seen
        problems = seen = look()
        if not seen or seen == seen_before:  # else sessions and paths are still coming up
            wiring = _of_wiring(initiator, ends, in_doubt=bool(seen))
            problems = [*wiring, *seen]  # the cause of others first, if any
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
    return last


def _of_wiring(initiator: Initiator, ends: Sequence[End], *, in_doubt: bool) -> list[Problem]:
    try:
        return wiring_problems(initiator.topology, ends, in_doubt=in_doubt)
    except (CommandFailed, CommandTimedOut) as error:
        return [Problem(error.message, error.hint or "`ip address` and `ip route` there say more")]
