"""What an existing machine is like, so that it can be left as it was found."""

from __future__ import annotations

from collections.abc import Iterator

from harness.machine import Machine

# Kernel modules are not looked at: one that was loaded stays, and does nothing by itself.
SERVICES = "services"
MULTIPATH_FILES = "files of multipath-tools"
# A socket would start its service again, so it is stopped before.
UNITS = ("multipathd.socket", "multipathd.service", "iscsid.socket", "iscsid.service")
FILES = ("files of open-iscsi", MULTIPATH_FILES)  # a digest and a path; of a folder its path
_LOOK_SCRIPT = r"""
part() { echo "## $1"; }
files() { find "$@" -type d -print -o -type f -exec sha256sum {} + 2>/dev/null; }
part "files of open-iscsi"
files /etc/iscsi /var/lib/iscsi
part "files of multipath-tools"
files /etc/multipath /etc/multipath.conf
part "iSCSI sessions"
iscsiadm --mode session 2>/dev/null | sed 's/\[[0-9]*\] //' | sort
part "services"
for unit in UNITS; do
  echo "$unit $(systemctl is-active "$unit" 2>/dev/null)"
done
part "maps of the device mapper"
dmsetup ls 2>/dev/null | cut -f 1 | sort
part "disks"
ls /sys/block | sort
part "tables of the packet filter"
nft list tables 2>/dev/null | sort
part "temporary files"
find /run -maxdepth 1 -name 'pathproof*'
""".replace("UNITS", " ".join(UNITS))
_TIMEOUT_S = 60.0

MachineState = dict[str, frozenset[str]]


def look(machine: Machine) -> MachineState:
    """The state that a run may change, in parts with a line for each thing that is there."""
    # What is not there is no failure: no -e.
    return parse_look(machine.run(["sh", "-uc", _LOOK_SCRIPT], timeout_s=_TIMEOUT_S).stdout)


def parse_look(text: str) -> MachineState:
    """Parse what the script prints: `## PART` and the lines of that part."""
    parts: dict[str, set[str]] = {}
    lines: set[str] = set()
    for line in text.splitlines():
        if line.startswith("## "):
            lines = parts.setdefault(line.removeprefix("## "), set())
        elif line.strip():
            lines.add(line.strip())
    return {part: frozenset(lines) for part, lines in parts.items()}


def active_units(state: MachineState) -> list[str]:
    """The services of `UNITS` that run, or whose sockets listen."""
    return [unit for unit in UNITS if f"{unit} active" in state[SERVICES]]


def differences(before: MachineState, after: MachineState) -> Iterator[str]:
    """Each line that is gone or new, with its part."""
    for part in dict.fromkeys((*before, *after)):
        was, became = before.get(part, frozenset()), after.get(part, frozenset())
        yield from (f"{part}: gone: {line}" for line in sorted(was - became))
        yield from (f"{part}: new: {line}" for line in sorted(became - was))
