"""Reading back what was acknowledged: through the map, and over each path alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.concurrency import both, within
from harness.deadline import Deadline
from harness.machine import Machine
from harness.measurements import MAP, ReadBack
from harness.steps import Spent, step
from harness.testbed.protocols import Map, MeasuredTestbed
from harness.transport import PathDisk
from harness.workload import Job, RunResult, read_back
from harness.workload.kept import Kept, check
from harness.workload.ledger import Ledger, Looks


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read back of one LUN, as a whole and as it was found, by job."""

    back: ReadBack
    looks: Mapping[str, Looks]


def read_everything_back(
    machine: Machine, of: Map, result: RunResult, again_after_s: float = 0
) -> Reading | None:
    """Compare every block of every job's ledger with what is there, and what nobody writes to.

    And once more after so many seconds, if that is not zero. None without a ledger, unless it is a
    map that is only read: of that nothing but the latter is compared.
    """
    ledgers = result.ledgers()
    if not ledgers and not of.planned.read_only:
        return None
    looks, kept = _look_at_all(machine, of, ledgers)
    if again_after_s:
        with step(f"Wait for {again_after_s:g} s before all is read once more", Spent.IO):
            time.sleep(again_after_s)
        later, kept_later = _look_at_all(machine, of, ledgers)
        looks = {job: first.then(later[job]) for job, first in looks.items()}
        kept = kept.then(kept_later)
    backs = [ledger.compare(looks[job.name]) for job, ledger in ledgers]
    back = replace(
        together(backs),
        compared=kept.compared,
        changed=kept.findings,
        not_compared=kept.failure,
        other_luns=kept.others,
        silent=kept.silent,
        identity=kept.identity,
        again_after_s=again_after_s,
    )
    return Reading(back, looks)


def _look_at_all(
    machine: Machine, of: Map, ledgers: Sequence[tuple[Job, Ledger]]
) -> tuple[dict[str, Looks], Kept]:
    places = places_of(of.attachment.device, of.paths, of.attachment.paths_in_use())
    return both(
        lambda: read_back(machine, places, ledgers) if ledgers else {},
        lambda: check(machine, of.planned.lun.name, places),
    )


def places_of(
    device: str, paths: Sequence[PathDisk], now: Mapping[str, PathDisk]
) -> dict[str, str]:
    """The device file of the map and of every path: of the disk that the path is `now`.

    A path without a disk has none: its old name may be that of somebody else's disk.
    """
    disks = {one.path: now[one.path].disk for one in paths if one.path in now}
    return {MAP: device} | {path: f"/dev/{disk}" for path, disk in disks.items()}


def together(backs: Sequence[ReadBack]) -> ReadBack:
    """The read-backs of several ledgers, whose blocks are not the same, as one."""
    checked: dict[str, int] = {}
    for back in backs:
        for place, count in back.checked.items():
            checked[place] = checked.get(place, 0) + count
    return ReadBack(
        acknowledged=sum(back.acknowledged for back in backs),
        verified=sum(back.verified for back in backs),
        checked=checked,
        findings=tuple(finding for back in backs for finding in back.findings),
        away={place: why for back in backs for place, why in back.away.items()},
    )


def bring_paths_back(testbed: MeasuredTestbed, within_s: float) -> None:
    """Heal the faults that still last, since queueing has ended: without a path nothing is read.

    Raises TimedOut if not every path comes back within that time.
    """
    deadline = Deadline.after(within_s)
    with step("Heal, so that every path is back", Spent.WAITING):
        within(deadline.remaining_s, testbed.heal, what="healing")
        for initiator in testbed.initiators:
            _wait_for_all(testbed, initiator, deadline)


def _wait_for_all(testbed: MeasuredTestbed, initiator: str, deadline: Deadline) -> None:
    everything = len(testbed.topology.of(initiator).paths)
    testbed.observer(initiator).wait_for(
        lambda sample: sample.count_paths("active") == everything,
        what=f"{everything} active paths",
        deadline=deadline,
    )
