"""Whether paths lead to the target that was made for this testbed, and not to one just like it.

Another testbed's target may have the same name, address and WWID. So the target's own machine,
which is reached by other means, marks its LUN, another mark every time; whatever path does not
show that mark leads elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from harness.concurrency import side_by_side
from harness.errors import PreflightFailed, Problem
from harness.machine import Machine
from harness.preflight import marker
from harness.preflight.marker import Marker
from harness.steps import Spent, step
from harness.transport import Attachment


def mark_own(target: Machine, storage: str, wwid: str, size: int) -> bytes:
    """Have `target` write a new marker into `storage`, its LUN; returns the block.

    `size` is the LUN's, in bytes.
    """
    block = marker.pack(Marker(uuid4(), wwid, size))
    with step("Mark the target's own LUN", Spent.PROVISIONING):
        target.run(marker.write_argv(storage), stdin=block)
    return block


def require_mark(block: bytes, attachment: Attachment, paths: Sequence[str]) -> None:
    """Raise PreflightFailed for paths that do not show the block that `mark_own` wrote.

    Nothing is written over them.
    """
    with step("Does every path lead to the testbed's own target?", Spent.PROVISIONING):
        reads = [marker.read_argv(f"/dev/{path}") for path in paths]
        shown = side_by_side(*((lambda r=read: attachment.machine.run(r)) for read in reads))
    astray = [p for p, said in zip(paths, shown, strict=True) if said.stdout_bytes != block]
    if astray:
        raise PreflightFailed(
            [
                Problem(
                    f"{', '.join(astray)} with WWID {attachment.wwid} "
                    f"{'lead' if len(astray) > 1 else 'leads'} to another target than the one "
                    "that was made for this testbed",
                    "see who else has the target's addresses on these networks; nothing was "
                    "written there",
                )
            ]
        )
