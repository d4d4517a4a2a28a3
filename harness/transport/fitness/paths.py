"""Whether sessions, paths and map are those of the one LUN, which nothing else uses; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.analysis.sessions import login_problems
from harness.errors import Problem
from harness.lacking import Lacking
from harness.measurements import PlannedSession, SessionSettings
from harness.transport.advice import ADVICE
from harness.transport.devices import BlockDevice
from harness.transport.fitness.handlers import Handlers
from harness.units import format_size


@dataclass(frozen=True)
class Wanted:
    """What was planned: one session of the LUN's target a path, and the LUN that each reaches.

    `wwid` is None as long as it is not known; `serial` is the LUN's unit serial number, if known.
    `preferences`: whether the testbed is about access states, so that it needs a device handler.
    `target` is the IQN of the LUN's target, "" if there is only one.
    """

    sessions: tuple[PlannedSession, ...]
    wwid: str | None
    serial: str | None = None
    preferences: bool = False
    target: str = ""


@dataclass(frozen=True)
class Facts:
    """What the initiator has. `reached`: path -> names of the disks that its sessions reach.

    `targets` has the IQN by the name of each such disk. `elsewhere` are sessions with the targets
    that were not planned. `handlers` are those of each map, by its WWID.
    """

    sessions: tuple[SessionSettings, ...]
    reached: Mapping[str, tuple[str, ...]]
    devices: tuple[BlockDevice, ...]
    elsewhere: tuple[str, ...] = ()
    handlers: Mapping[str, Handlers] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)

    @property
    def lacking(self) -> tuple[Lacking, ...]:
        """What a run that is not about ALUA does without, each once."""
        every = (one for handlers in self.handlers.values() for one in handlers.lacking)
        return tuple(dict.fromkeys(every))

    def map(self, wwid: str) -> BlockDevice | None:
        """The multipath map of a LUN."""
        return next((d for d in self.devices if d.is_map_of(wwid)), None)

    def luns(self, wwid: str) -> tuple[BlockDevice, ...]:
        """Every disk that is this LUN, however it is reached."""
        return tuple(d for d in self.devices if d.is_lun(wwid))


def path_problems(wanted: Wanted, facts: Facts) -> list[Problem]:
    """Everything that makes the testbed unfit to be written to, each with its cure."""
    if wanted.wwid is None:  # then there is no map, nor are there its timeouts
        return list(_offers(wanted.serial, facts))
    return [
        *_of_target(wanted.target, login_problems(wanted.sessions, facts.sessions, ADVICE)),
        *_stray_sessions(facts),
        *_lun_problems(wanted.wwid, wanted.sessions, facts),
        *_identity_problems(wanted.wwid, wanted.serial, facts),
        *_map_problems(wanted.wwid, facts),
        *holder_problems(wanted.wwid, facts),
        *(_handler_problems(wanted.wwid, facts) if wanted.preferences else ()),
    ]


def _of_target(iqn: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    """With the target's name, where there are several: each path has a session with each."""
    for one in problems:
        yield replace(one, cause=f"target {iqn}: {one.cause}") if iqn else one


def _handler_problems(wwid: str, facts: Facts) -> list[Problem]:
    handlers = facts.handlers.get(wwid)
    return handlers.problems() if handlers else []


def _stray_sessions(facts: Facts) -> Iterator[Problem]:
    for session in facts.elsewhere:
        yield Problem(
            f"{session} is on no path that was planned",
            "log out of it, or describe its portal in [[networks]]",
        )


def _offers(serial: str | None, facts: Facts) -> Iterator[Problem]:
    """What may be meant by a configuration that names no WWID."""
    reached = {name for names in facts.reached.values() for name in names}
    offered: dict[str, list[BlockDevice]] = {}
    for device in facts.devices:
        if device.name in reached and serial in {None, device.serial}:
            offered.setdefault(_identity(device), []).append(device)
    for identity, devices in offered.items():
        first = devices[0]
        yield Problem(
            f"the configuration names no LUN; the target shows {identity}, "
            f"{format_size(first.size)}, serial {first.serial or 'unknown'}, over "
            f"{_listed([device.name for device in devices])}",
            f'if it is the one for tests, `wwid = "{identity}"` in [target]',
        )
    if not offered:
        which = f"with serial {serial}" if serial else "at all"
        yield Problem(
            f"the configuration names no WWID, and the target shows no LUN {which}",
            "map a LUN to this initiator, and name its WWID in target.wwid",
        )


def _lun_problems(wwid: str, planned: Sequence[PlannedSession], facts: Facts) -> Iterator[Problem]:
    """One LUN of that WWID over each path, and over nothing else."""
    named = {device.name: device for device in facts.devices}
    luns = {device.name for device in facts.luns(wwid)}
    for plan in planned:
        over_path = facts.reached.get(plan.path, ())
        reached = [n for n in over_path if facts.targets.get(n, plan.target) == plan.target]
        here = [name for name in reached if name in luns]
        astray = [name for name in over_path if name in luns and name not in reached]
        for name in astray:
            yield Problem(
                f"path {plan.path} reaches the LUN with WWID {wwid} in target "
                f"{facts.targets[name]} ({name}), and it was planned in target {plan.target}",
                "move it there on the target, or name the target that has it: luns.N.target_iqn",
            )
        if not here and not astray:
            others = [f"{name} ({_identity(named.get(name))})" for name in reached]
            yield Problem(
                f"path {plan.path} reaches no LUN with WWID {wwid}, but "
                f"{', '.join(others) or 'no disk at all'}",
                "map that LUN to this initiator on every portal, or name the right one in "
                "target.wwid",
            )
        if len(here) > 1:
            yield Problem(
                f"path {plan.path} reaches {len(here)} LUNs with WWID {wwid}: {', '.join(here)}",
                "give each LUN an identity of its own on the target: one map would write to both",
            )
    expected = {name for names in facts.reached.values() for name in names}
    if strays := sorted(luns - expected):
        yield Problem(
            f"no planned session leads to {', '.join(strays)}, of WWID {wwid}, too",
            "log out of what else leads to this LUN: I/O over it would hide the loss of a path",
        )


def _identity_problems(wwid: str, serial: str | None, facts: Facts) -> Iterator[Problem]:
    """What calls itself one LUN looks like one."""
    luns = facts.luns(wwid)
    for lun in luns:
        if serial is not None and lun.serial != serial:
            yield Problem(
                f"{lun.name} has serial {lun.serial or 'unknown'}, not {serial}",
                "target.wwid and target.serial must be those of one LUN",
            )
        if lun.contradicts:
            yield Problem(
                f"{lun.name} is {wwid} to udev and {lun.wwid} to the kernel",
                f"it was remapped on the target: log out and in again, or `udevadm trigger "
                f"--settle /sys/block/{lun.name}`",
            )
    if len({lun.size for lun in luns}) > 1:
        sizes = ", ".join(f"{lun.name} {format_size(lun.size)}" for lun in luns)
        yield Problem(
            f"the paths to {wwid} differ in size: {sizes}",
            "different LUNs have one WWID, or one was resized: give each an identity of its own, "
            "or rescan with `iscsiadm -m session --rescan`",
        )


def _map_problems(wwid: str, facts: Facts) -> Iterator[Problem]:
    """A map of exactly the planned paths."""
    luns = {device.name for device in facts.luns(wwid)}
    found = facts.map(wwid)
    if found is None:
        if luns:
            yield Problem(
                f"there is no map of {wwid} on {', '.join(sorted(luns))}",
                "`multipath -v3` says why; a blacklist of the machine's own, or a program "
                "that holds a path",
            )
    elif set(found.below) != luns:
        yield Problem(
            f"the map of {wwid} is made of {_listed(found.below)}, and the LUN's paths are "
            f"{_listed(luns)}",
            "`multipathd reconfigure`; if that does not help, `multipath -v3` says why",
        )


def holder_problems(wwid: str, facts: Facts) -> Iterator[Problem]:
    """All that uses the LUN beside its own map: mounts, swap, and devices stacked on it.

    Partitions by themselves are no use; what lies on them is.
    """
    own = facts.map(wwid)
    below = {device.name for device in facts.luns(wwid)} | ({own.name} if own else set())
    held = _stack(facts.devices, below)
    for device in held:
        for place in device.places:
            what, cure = f"is mounted on {place}", "`umount` it"
            if place == "swap":
                what, cure = "is swapped to", "`swapoff` it"
            elif place.startswith("btrfs "):
                what = f"belongs to the {place}, which is mounted in another mount namespace"
                cure = "`umount` it there (`lsns --type mnt` has them all)"
            yield Problem(
                f"{_title(device)}, of the LUN {wwid}, {what}", f"{cure}, if it is not needed"
            )
        if device.name not in below and not device.is_partition:
            yield Problem(
                f"{_title(device)} lies on {_listed(device.below)}, which is the LUN {wwid}",
                f"{_ending(device)}, if it is not needed",
            )


def _stack(devices: Sequence[BlockDevice], names: set[str]) -> list[BlockDevice]:
    """These devices and all that lies on them, at whatever height."""
    found = set(names)
    while above := {d.name for d in devices if found.intersection(d.below)} - found:
        found |= above
    return [device for device in devices if device.name in found]


def _ending(holder: BlockDevice) -> str:
    """How a holder is ended, by what its UUID says it is (dm-uuid has SUBSYSTEM-…)."""
    kind = holder.dm_uuid.partition("-")[0]
    if kind == "LVM":
        return f"`vgchange --activate n` for the volume group of {holder.dm_name}"
    if kind == "CRYPT":
        return f"`cryptsetup close {holder.dm_name}`"
    if kind.startswith("part"):
        return f"`kpartx -d` for {_listed(holder.below)}"
    if kind == "mpath":
        return f"`multipath -f {holder.dm_name}`"
    if holder.dm_name:
        return f"`dmsetup remove {holder.dm_name}`"
    return f"`mdadm --stop /dev/{holder.name}`" if holder.name.startswith("md") else "end it"


def _title(device: BlockDevice) -> str:
    return f"{device.name} ({device.dm_name})" if device.dm_name else device.name


def _identity(device: BlockDevice | None) -> str:
    return (device.identity or device.wwid or "no WWID") if device else "not there any more"


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(names))
