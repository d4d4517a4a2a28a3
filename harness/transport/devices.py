"""Block devices as the kernel stacks them: which are one LUN, what lies on which, what is used.

Sources: Documentation/ABI/testing/sysfs-block and sysfs-block-dm in the kernel, proc(5) for
mountinfo and swaps, /run/udev/data for what udev found, which is what multipathd goes by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from harness.errors import InitiatorError
from harness.transport import btrfs
from harness.transport.dm_multipath.wwid import has_wwid
from harness.transport.iscsi.sysfs import SESSIONS_SCRIPT, Session, parse_sessions

_SECTOR = 512  # the unit of /sys/block/*/size, whatever the device's block size
_SEPARATOR = "--"
_COLUMNS = 9

# device|NAME|number|size|devices below|dm name|dm uuid|udev's ID_SERIAL|its ID_SCSI_SERIAL|wwid,
# where the last is the only one that may have a "|" itself; `use|NUMBER|PLACE` for what is mounted
# and `swap|/dev/NAME`. It follows SESSIONS_SCRIPT, whose `value` it uses, and calls nothing either.
_DEVICES_SCRIPT = r"""
for b in /sys/block/*; do
  [ -e "$b" ] || continue
  value "$b/dev"
  line="device|${b##*/}|$REPLY"
  identity= serial=
  if [ -e "/run/udev/data/b$REPLY" ]; then
    while IFS= read -r REPLY; do
      case $REPLY in
        E:ID_SERIAL=*) identity=${REPLY#*=} ;;
        E:ID_SCSI_SERIAL=*) serial=${REPLY#*=} ;;
      esac
    done <"/run/udev/data/b$REPLY"
  fi
  value "$b/size"
  line="$line|$REPLY|"
  for s in "$b"/slaves/*; do
    [ -e "$s" ] && line="$line${s##*/} "
  done
  for file in "$b/dm/name" "$b/dm/uuid"; do
    value "$file"
    line="$line|$REPLY"
  done
  value "$b/device/wwid"
  printf '%s\n' "$line|$identity|$serial|$REPLY"
  for p in "$b/${b##*/}"*; do
    [ -e "$p/partition" ] || continue
    value "$p/dev"
    line="device|${p##*/}|$REPLY"
    value "$p/size"
    printf '%s\n' "$line|$REPLY|${b##*/}|||||"
  done
done
while read -r _ _ number _ place _; do
  printf '%s\n' "use|$number|$place"
done </proc/self/mountinfo
while read -r file _; do
  printf '%s\n' "swap|$file"
done </proc/swaps
"""

SURVEY_SCRIPT = f"{SESSIONS_SCRIPT}\necho {_SEPARATOR}\n{_DEVICES_SCRIPT}{btrfs.SCRIPT}"


@dataclass(frozen=True)
class BlockDevice:
    """A block device: `number` is "8:16", `size` in bytes, `below` the devices it lies on.

    `wwid` is the kernel's form of its identity ("naa.6001405…"), `identity` udev's and so
    multipathd's ("36001405…"); `serial` is its unit serial number. `dm_name` and `dm_uuid` are
    those of a device-mapper device, `places` where it is mounted, "swap", or "btrfs UUID" of a
    file system that is mounted out of sight.
    """

    name: str
    number: str
    size: int
    below: tuple[str, ...] = ()
    dm_name: str = ""
    dm_uuid: str = ""
    identity: str = ""
    serial: str = ""
    wwid: str = ""
    places: tuple[str, ...] = ()

    @property
    def is_partition(self) -> bool:
        """Whether it is one that the kernel made of a partition table."""
        return len(self.below) == 1 and not self.dm_name and self.name.startswith(self.below[0])

    def is_map_of(self, wwid: str) -> bool:
        """Whether it is the multipath map of that WWID, whatever its name."""
        return self.dm_uuid == f"mpath-{wwid}"

    def is_lun(self, wwid: str) -> bool:
        """Whether it is a disk with that WWID, by what udev or else the kernel knows."""
        if self.below:
            return False
        if self.identity:
            return self.identity == wwid
        return has_wwid(self.wwid, wwid)

    @property
    def contradicts(self) -> bool:
        """Whether the kernel knows another identity than udev, as after a remapping.

        Unless the kernel tells of a form that udev does not go by, such as a name.
        """
        comparable = self.wwid.startswith(("naa.", "eui.", "t10."))
        return bool(self.identity and comparable and not has_wwid(self.wwid, self.identity))


@dataclass(frozen=True)
class Survey:
    """What an initiator has: its sessions with the target, and all of its block devices."""

    sessions: tuple[Session, ...]
    devices: tuple[BlockDevice, ...]


def parse_survey(text: str, targets: Collection[str]) -> Survey:
    """What SURVEY_SCRIPT printed, of sessions only those with these targets.

    A device that went away meanwhile is left out. Raises InitiatorError for a line it can't read.
    """
    sessions, separator, rest = f"\n{text}".partition(f"\n{_SEPARATOR}\n")
    if not separator:
        raise InitiatorError(f"not a survey of block devices: {text[:200]!r}")
    lines = [line.partition("|")[::2] for line in rest.split("\n")]
    uses = [line.partition("|")[::2] for kind, line in lines if kind == "use"]
    swaps = {line.rpartition("/")[2] for kind, line in lines if kind == "swap"}
    devices = [_device(line, uses, swaps) for kind, line in lines if kind == "device"]
    there = (device for device in devices if device is not None)
    return Survey(tuple(parse_sessions(sessions[1:], targets)), tuple(_with_btrfs(there, rest)))


def _with_btrfs(devices: Iterable[BlockDevice], text: str) -> Iterator[BlockDevice]:
    devices = tuple(devices)
    names = {f"/dev/{d.name}": d.name for d in devices}
    names |= {f"/dev/mapper/{d.dm_name}": d.name for d in devices if d.dm_name}
    places = btrfs.places_by_device(text, names)
    return (replace(d, places=(*d.places, *places.get(d.name, ()))) for d in devices)


def _device(line: str, uses: list[tuple[str, str]], swaps: set[str]) -> BlockDevice | None:
    parts = line.split("|", _COLUMNS - 1)
    if len(parts) == _COLUMNS and parts[0] and not parts[2]:
        return None  # its files in sysfs went away while they were read
    if len(parts) != _COLUMNS or not parts[2].isdecimal():
        raise InitiatorError(f"not a line about a block device: {line!r}")
    name, number, sectors, below, dm_name, dm_uuid, identity, serial, wwid = parts
    places = [place for used, place in uses if used == number]
    return BlockDevice(
        name,
        number,
        int(sectors) * _SECTOR,
        tuple(below.split()),
        dm_name,
        dm_uuid,
        identity,
        serial,
        wwid,
        tuple(places + ["swap"] * (name in swaps or dm_name in swaps)),
    )
