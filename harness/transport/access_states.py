"""What an initiator's kernel knows of the access states (ALUA) of its disks.

Sources: sdev_show_dh_state() and sdev_show_access_state() in drivers/scsi/scsi_sysfs.c, and the
names of states in drivers/scsi/scsi.c. The device handler reads them: after a unit attention, while
a group is in transition, and when it is attached. A kernel that has no handler for a disk when it
appears has no file for its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import InitiatorError
from harness.machine import Machine

_LOOK_TIMEOUT_S = 5.0
HANDLER = "alua"

# NAME|dh_state|access_state of each disk. The shell reads sysfs by itself: under emulation each
# `cat` would take it 20 ms.
_LOOK = r"""
value() { REPLY=; { IFS= read -r REPLY <"$1"; } 2>/dev/null || :; }
for disk in "$@"; do
  value "/sys/block/$disk/device/dh_state"
  line="$disk|$REPLY"
  value "/sys/block/$disk/device/access_state"
  printf '%s\n' "$line|$REPLY"
done
"""


@dataclass(frozen=True)
class SeenState:
    """The handler of a disk, and the access state that the kernel knows of it.

    `state` is "active/optimized", "standby", …; both are "" where the kernel shows none.
    """

    disk: str
    handler: str
    state: str

    @property
    def unseen(self) -> str:
        """Why the state is not known, or nothing."""
        if self.handler != HANDLER:
            return f"no device handler reads the access state of {self.disk}"
        return "" if self.state else f"the kernel does not show the access state of {self.disk}"


def look_at_access_states(machine: Machine, disks: Sequence[str]) -> dict[str, SeenState]:
    """What the kernel of a machine knows of these disks at this moment, by their names."""
    if not disks:
        return {}
    argv = ["sh", "-euc", _LOOK, "sh", *disks]
    return parse_access_states(machine.run(argv, timeout_s=_LOOK_TIMEOUT_S).stdout)


def parse_access_states(text: str) -> dict[str, SeenState]:
    """What _LOOK printed: `sda|alua|active/optimized`. Raises InitiatorError for another form."""
    found = {}
    for line in text.splitlines():
        disk, *rest = line.split("|")
        if len(rest) != len(("handler", "state")):
            raise InitiatorError(f"not the access state of a disk: {line!r}")
        found[disk] = SeenState(disk, *rest)
    return found
