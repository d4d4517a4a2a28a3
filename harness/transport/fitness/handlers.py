"""Whether the kernel's SCSI device handler that a map names is attached to each of its paths.

A map may name a handler that is not there: a kernel without CONFIG_SCSI_DH, such as Debian's cloud
kernel, takes the name and does nothing (scsi_dh_attach() in include/scsi/scsi_dh.h is a stub then).
What the kernel does about ALUA is the handler's work: it reads the access states, sends SET TARGET
PORT GROUPS, answers the unit attention 2A/06 and waits while a group is in transition.

Sources: multipath_status() in drivers/md/dm-mpath.c for the table; sdev_show_dh_state() in
drivers/scsi/scsi_sysfs.c, up to 4.2 show_dh_state() in device_handler/scsi_dh.c: the name of the
handler, or "detached". A kernel without device handlers has no such file. The module of a handler
is scsi_dh_NAME (scsi_dh_lookup() in drivers/scsi/scsi_dh.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import InitiatorError, Problem
from harness.lacking import Lacking
from harness.machine import Machine

_LOOK_TIMEOUT_S = 15.0
_NONE, _DETACHED = "", "detached"

# table|TABLE of the map $1, then disk|NAME|dh_state of each of the others. The shell reads sysfs
# by itself: under emulation each `cat` would take it 20 ms.
_LOOK = r"""
printf 'table|'
dmsetup table "$1"
shift
for disk in "$@"; do
  REPLY=
  { IFS= read -r REPLY <"/sys/block/$disk/device/dh_state"; } 2>/dev/null || :
  printf '%s\n' "disk|$disk|$REPLY"
done
"""
_TABLE = re.compile(r"\d+ \d+ multipath (?P<features>\d+) (?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True)
class Handlers:
    """The handler that a map names, and by disk the one that the kernel has attached to it.

    `named` is "" if the map names none; `attached` is "detached" for a disk that has none, and ""
    where the kernel knows no handlers.
    """

    named: str = ""
    attached: Mapping[str, str] = field(default_factory=dict)

    def problems(self) -> list[Problem]:
        """A map that names a handler, and disks that have another one or none."""
        return [Problem(cause, cure) for cause, cure in self._mismatches()]

    @property
    def lacking(self) -> tuple[Lacking, ...]:
        """The same, as what a run that is not about ALUA does without."""
        return tuple(Lacking("handler", cause, cure) for cause, cure in self._mismatches())

    def _mismatches(self) -> Iterator[tuple[str, str]]:
        disks: dict[str, list[str]] = {}
        for disk, state in sorted(self.attached.items()):
            if self.named and state != self.named:
                disks.setdefault(state, []).append(disk)
        for state, names in disks.items():
            yield (
                f"the map names the handler {self.named}, and {_fact(state, names)}",
                self._cure(state, names),
            )

    def _cure(self, state: str, disks: Sequence[str]) -> str:
        if state == _NONE:
            return (
                "use a kernel with CONFIG_SCSI_DH: on Debian linux-image-amd64, not "
                "linux-image-cloud-amd64"
            )
        if state == _DETACHED:
            attach = "; ".join(f"echo {self.named} >/sys/block/{d}/device/dh_state" for d in disks)
            return f"`modprobe scsi_dh_{self.named}; {attach}`"
        return (
            f'`hardware_handler "1 {state}"` in multipath.conf if {state} is the right one for '
            f"this array; if not, keep scsi_dh_{state} from loading, and log in anew"
        )


def look_at_handlers(machine: Machine, map_name: str, disks: Sequence[str]) -> Handlers:
    """The handlers of a map, by its name in the device mapper, and of its disks, at this moment.

    Raises CommandFailed for a map that is not there any more.
    """
    argv = ["sh", "-euc", _LOOK, "sh", map_name, *disks]
    return parse_handlers(machine.run(argv, timeout_s=_LOOK_TIMEOUT_S).stdout)


def parse_handlers(text: str) -> Handlers:
    """What _LOOK printed. Raises InitiatorError for a table that is not of a multipath map.

    Real lines (6.1 with dmsetup 1.02.185):

        table|0 1048576 multipath 1 queue_if_no_path 1 alua 1 1 service-time 0 2 2 8:0 1 1 8:16 1 1
        disk|sda|alua
    """
    lines = [line.split("|") for line in text.splitlines()]
    tables = [rest for kind, *rest in lines if kind == "table"]
    if len(tables) != 1:
        raise InitiatorError(f"not the table of one map: {text[:200]!r}")
    attached = {rest[0]: rest[1] for kind, *rest in lines if kind == "disk"}
    return Handlers(_handler_named("|".join(tables[0])), attached)


def _handler_named(table: str) -> str:
    """The handler in a table.

    The table is START SIZE multipath N, N words of features, N, N words of handler and arguments.
    """
    found = _TABLE.match(table)
    if found is None:
        raise InitiatorError(f"not the table of a multipath map: {table!r}")
    features = int(found["features"])
    count, *words = found["rest"].split()[features:] or [""]
    if not count.isdigit() or len(words) < int(count):
        raise InitiatorError(f"the table of a multipath map is cut off: {table!r}")
    return words[0] if int(count) else ""


def _fact(state: str, disks: Sequence[str]) -> str:
    names = ", ".join(disks)
    if state == _NONE:
        return f"the kernel has no device handlers ({names})"
    if state == _DETACHED:
        return f"no handler is attached to {names}"
    return f"{state} is attached to {names}"
