"""Whether an initiator sees the LUNs that are meant for it and no others: asked and judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import InitiatorError, Problem
from harness.machine import Machine
from harness.target import Target
from harness.topology import called

_TIMEOUT_S = 15.0
# Of each SCSI disk its name, whether it is read-only, and its identity, which may be missing.
# Sources: Documentation/ABI/stable/sysfs-block of the kernel, `ro`, which the driver sets by the WP
# bit of MODE SENSE (sd_read_write_protect_flag() in drivers/scsi/sd.c); `wwid` in scsi_sysfs.c.
SCRIPT = """
for disk in /sys/block/sd*; do
  [ -e "$disk/ro" ] || continue
  echo "${disk##*/} $(cat "$disk/ro") $(cat "$disk/device/wwid" 2>/dev/null)"
done
"""


@dataclass(frozen=True)
class Masking:
    """What the target is to show to one initiator, where there are several.

    `shown` are its LUNs by WWID, and whether each is write-protected; `hidden` are the names of
    all others by WWID.
    """

    initiator: str
    shown: Mapping[str, bool]
    hidden: Mapping[str, str]


@dataclass(frozen=True)
class SeenDisk:
    """A SCSI disk: `identity` is the kernel's, such as "naa.6001405…"."""

    name: str
    read_only: bool
    identity: str

    def is_lun(self, wwid: str) -> bool:
        """Whether it is the LUN of that WWID; of what has no NAA identity nothing is known."""
        return self.identity == f"naa.{wwid[1:]}"


def masking_for(initiator: str, target: Target) -> Masking | None:
    """That of a target which Pathproof makes; None if there is but one initiator."""
    topology = target.topology
    if len(topology.initiators) < 2:
        return None
    wwids = {lun: target.wwid_of(lun) for lun in topology.luns}
    return Masking(
        initiator,
        {w: initiator in lun.read_only for lun, w in wwids.items() if initiator in lun.initiators},
        {w: lun.name for lun, w in wwids.items() if initiator not in lun.initiators},
    )


def look_at_masking(machine: Machine, masking: Masking) -> list[Problem]:
    """What an initiator sees otherwise than planned, now. Raises InitiatorError."""
    disks = parse_disks(machine.sh(SCRIPT, timeout_s=_TIMEOUT_S).stdout)
    return list(masking_problems(masking, disks))


def parse_disks(text: str) -> tuple[SeenDisk, ...]:
    """What SCRIPT prints; a real line is `sdb 1 naa.6001405aa66d3a0b59e1958aa40833f1`.

    Raises InitiatorError for any other.
    """
    disks = []
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        value, _, identity = rest.partition(" ")
        if value not in {"0", "1"}:
            raise InitiatorError(f"not known whether a disk is write-protected: {line!r}")
        disks.append(SeenDisk(name, value == "1", identity.strip()))
    return tuple(disks)


def masking_problems(masking: Masking, disks: Sequence[SeenDisk]) -> Iterator[Problem]:
    """What the target shows otherwise than planned.

    That a LUN is not seen over a path is for the fitness of the paths to tell.
    """
    who = called(masking.initiator)
    for wwid, name in masking.hidden.items():
        if seen := [disk.name for disk in disks if disk.is_lun(wwid)]:
            yield Problem(
                f"{who} sees {name} ({wwid}) over {', '.join(seen)}, which is masked from it: it "
                "could write where another initiator does",
                "take the LUN out of what the target maps to this initiator, or name the initiator "
                "in `initiators` of [[luns]]",
            )
    for wwid, read_only in masking.shown.items():
        own = [disk for disk in disks if disk.is_lun(wwid)]
        if wrong := [disk.name for disk in own if disk.read_only is not read_only]:
            is_now = "can be written to" if read_only else "is write-protected"
            meant = "is read-only for it" if read_only else "it may write to"
            yield Problem(
                f"{', '.join(wrong)} of {who} {is_now}, and the LUN {wwid} {meant}",
                "change the write protection of the LUN that the target maps to this initiator, or "
                "`read_only` of [[luns]]; then log out and in",
            )
