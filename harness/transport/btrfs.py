"""Mounted btrfs: mountinfo shows it by a number of its own and by one of its devices' names.

So what it lies on is asked of the kernel: /sys/fs/btrfs/UUID/devices has a link for each device
of a file system as long as that is mounted, be it in another mount namespace
(fs/btrfs/sysfs.c; proc_pid_mountinfo(5)).
"""

from __future__ import annotations

from collections.abc import Mapping

# member|UUID|NAME of each device, and source|/dev/NAME|PLACE of each mount. It calls nothing.
SCRIPT = r"""
for member in /sys/fs/btrfs/*-*/devices/*; do
  [ -e "$member" ] || continue
  system=${member%/devices/*}
  printf '%s\n' "member|${system##*/}|${member##*/}"
done
while read -r _ _ _ _ place rest; do
  rest=${rest#* - }
  case $rest in
    "btrfs "*) rest=${rest#* } && printf '%s\n' "source|${rest%% *}|$place" ;;
  esac
done </proc/self/mountinfo
"""


def places_by_device(text: str, names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Where each device is in use by btrfs, from what SCRIPT printed among other lines.

    `names` has the kernel's name of a device by each of its paths in /dev. A file system that is
    mounted where it cannot be seen is called "btrfs UUID".
    """
    systems: dict[str, list[str]] = {}
    mounted: dict[str, list[str]] = {}
    for line in text.split("\n"):
        kind, *parts = line.split("|", 2)
        if kind == "member" and len(parts) == 2:
            systems.setdefault(parts[0], []).append(parts[1])
        elif kind == "source" and len(parts) == 2:
            mounted.setdefault(names.get(parts[0], ""), []).append(parts[1])
    found: dict[str, tuple[str, ...]] = {}
    for uuid, members in systems.items():
        places = [place for member in members for place in mounted.get(member, [])]
        found |= dict.fromkeys(members, tuple(places) or (f"btrfs {uuid}",))
    return found
