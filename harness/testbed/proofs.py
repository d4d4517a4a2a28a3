"""What machines and maps have to show before a test may write: fit, and the testbed's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.concurrency import side_by_side
from harness.errors import InitiatorError
from harness.lacking import Lacking
from harness.machine import Machine
from harness.preflight import End, mark_own, masking_for, require_fit, require_mark
from harness.steps import Spent, step
from harness.target import Target
from harness.target.base import storage_path
from harness.testbed.map_view import MapView
from harness.topology import Lun, Role, called
from harness.transport import Initiator
from harness.units import KIB

_PROOF_SIZE = 512 * KIB


def require_all_fit(
    initiators: Mapping[str, Initiator], target: Target, ends: Mapping[str, End]
) -> tuple[Lacking, ...]:
    """Pass the preflight on every initiator; the target's end is looked at with the first.

    Returns what the testbed does without. Raises PreflightFailed, with each cure.
    """
    first = next(iter(initiators))

    def look(name: str) -> tuple[Lacking, ...]:
        seen_from = (name, Role.TARGET) if name == first else (name,)
        return require_fit(
            initiators[name],
            ends=[end for one, end in ends.items() if one in seen_from],
            masking=masking_for(name, target),
        ).lacking

    found = side_by_side(*((lambda n=name: look(n)) for name in initiators))
    return tuple(dict.fromkeys(one for lacking in found for one in lacking))


def mark_target(machine: Machine, target: Target) -> list[bytes]:
    """Have the target's own machine mark each LUN, past the target; for `Testbed.prove_target`."""

    def mark(lun: Lun) -> bytes:
        return mark_own(machine, storage_path(target.config, lun), target.wwid_of(lun), lun.size)

    return side_by_side(*((lambda one=lun: mark(one)) for lun in target.topology.luns))


def require_marks(marks: Sequence[bytes], maps: Sequence[MapView]) -> None:
    """Raise PreflightFailed for paths of maps that do not show the mark of their LUN."""
    for one in maps:
        disks = [path.disk for path in one.paths]
        require_mark(marks[one.lun.number], one.attachment, disks)


def require_same_data(maps: Sequence[MapView]) -> None:
    """Read the same stretch of each map over each path separately: all must agree.

    Raises InitiatorError if they don't, which means different disks behind one WWID.
    """
    by_machine: dict[str, list[MapView]] = {}
    for one in maps:
        by_machine.setdefault(one.machine, []).append(one)

    def read(own: Sequence[MapView]) -> None:
        every = [path.disk for one in own for path in one.paths]
        digests = own[0].observer.read_directly(every, _PROOF_SIZE)
        for one in own:
            names = [path.disk for path in one.paths]
            if len({digests[name] for name in names}) != 1:
                raise InitiatorError(
                    f"the paths {', '.join(names)} of {called(one.machine)} read different data"
                )

    with step("Read over each path", Spent.PROVISIONING):
        side_by_side(*((lambda own=own: read(own)) for own in by_machine.values()))
