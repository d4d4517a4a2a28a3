"""One LUN on one machine: its map, and the disks that the map is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from harness.concurrency import side_by_side
from harness.deadline import Deadline, poll
from harness.errors import CommandTimedOut, InitiatorError
from harness.machine import Machine
from harness.steps import Spent, step
from harness.topology import Topology
from harness.transport.devices import Survey
from harness.transport.dm_multipath import multipathd
from harness.transport.dm_multipath.maps import MAPS_ARGV, Map, find_map
from harness.transport.dm_multipath.wwid import map_name
from harness.transport.path_disk import PathDisk

# Every one of these ends by itself on a healthy machine; under TCG the slowest took 4 s.
_TOOL_TIMEOUT_S = 90.0
_MAP_TIMEOUT_S = 90.0
_LOOK_TIMEOUT_S = 15.0  # of one look while a map comes up
_LISTING = "multipath -ll"


class MultipathAttachment:
    """The map of the LUN with that WWID. Made by `IscsiInitiator`, whose sessions lead to the LUN.

    `survey` looks at the machine's sessions with the target and at its block devices.
    """

    def __init__(
        self, machine: Machine, topology: Topology, wwid: str, survey: Callable[[], Survey]
    ) -> None:
        self.machine = machine
        self.topology = topology
        self.wwid = wwid
        self._survey = survey

    @property
    def map_name(self) -> str:
        """What the device mapper calls the map."""
        return map_name(self.wwid)

    @property
    def device(self) -> str:
        """The map's device file."""
        return f"/dev/mapper/{self.map_name}"

    def wait_for_map(self) -> None:
        """Wait until the map has every path, all of them active."""
        wanted = len(self.topology.paths)
        seen = ""

        def assembled() -> bool:
            nonlocal seen
            try:
                current = self._map_now()
            except (CommandTimedOut, InitiatorError) as error:
                seen = error.message
                return False
            seen = str(current or "no map")
            return current is not None and (
                sum(p.dm_state == "active" and p.checker_state == "ready" for p in current.paths)
                == wanted
                and len(current.paths) == wanted
            )

        with step(f"Wait for the map with {wanted} active paths", Spent.CONFIGURATION):
            poll(
                assembled,
                what=f"map {self.wwid} with {wanted} active paths",
                deadline=Deadline.after(_MAP_TIMEOUT_S),
                every_s=0.2,
                last_seen=lambda: seen,
            )
            self._wait_for_device()

    def _wait_for_device(self) -> None:
        """Wait until udev has made the map's file; an earlier write would make a plain file."""
        argv = ["test", "-b", self.device]
        poll(
            lambda: self.machine.run(argv, timeout_s=_TOOL_TIMEOUT_S, check=False).status == 0,
            what=f"the block device {self.device}",
            deadline=Deadline.after(_MAP_TIMEOUT_S),
            every_s=0.2,
        )

    def _map_now(self) -> Map | None:
        """The map as multipathd has it, or None. Raises InitiatorError if it doesn't tell.

        As long as it is busy, or starts, it may say `timeout`, or a part of the answer, or nothing.
        """
        answer = self.machine.run(MAPS_ARGV, timeout_s=_LOOK_TIMEOUT_S, check=False)
        return find_map(answer.stdout or answer.stderr, self.wwid)

    def paths(self) -> tuple[PathDisk, ...]:
        """The disk of every path to the LUN, in the order of the topology: exactly one each.

        Raises InitiatorError if a path has none or several; other LUNs are passed over.
        """
        found = self.disks_by_path()
        if wrong := {name: disks for name, disks in found.items() if len(disks) != 1}:
            told = "; ".join(
                f"{name} has {', '.join(one.disk for one in disks) or 'none'}"
                for name, disks in wrong.items()
            )
            raise InitiatorError(f"each path must have exactly one disk of {self.wwid}: {told}")
        return tuple(disks[0] for disks in found.values())

    def disks_by_path(self) -> dict[str, list[PathDisk]]:
        """The disks of the LUN that each path has now, by the name of the path.

        Sessions with the target that are on no path are for the preflight to tell of.
        """
        return self._disks_of(self._survey())

    def paths_in_use(self) -> dict[str, PathDisk]:
        """The disk of each path by the path's name: the disk in the map, or else the only one.

        A disk that died may stay beside the one that took its place. Where several are in the map,
        or several and none of them, it is not known which one is the path.
        """
        survey = self._survey()
        below = {name for one in survey.devices if one.is_map_of(self.wwid) for name in one.below}
        found = {}
        for path, disks in self._disks_of(survey).items():
            in_map = [one for one in disks if one.disk in below]
            if len(candidates := in_map or disks) == 1:
                found[path] = candidates[0]
        return found

    def _disks_of(self, survey: Survey) -> dict[str, list[PathDisk]]:
        luns = {device.name for device in survey.devices if device.is_lun(self.wwid)}
        found: dict[str, list[PathDisk]] = {path.name: [] for path in self.topology.paths}
        for session in survey.sessions:
            if path := self.topology.path_of(session.portal, session.iface, session.target):
                origin = f"{session.address}:{session.port},{session.iface}"
                found[path.name] += [
                    PathDisk(path.name, disk.name, disk.device, origin)
                    for disk in session.disks
                    if disk.name in luns
                ]
        return found

    def take_path_away(self, name: str) -> None:
        """Take a healthy path out of the map, as an administrator would."""
        multipathd.order(self.machine, "del", "path", name)

    def give_path_back(self, name: str) -> None:
        """Undo `take_path_away`."""
        multipathd.order(self.machine, "add", "path", name)

    @property
    def listing(self) -> str:
        """The name of what `describe_paths` shows."""
        return _LISTING

    def hang_evidence(self, timeout_s: float) -> Mapping[str, Callable[[], str]]:
        """The map as the device mapper and multipath have it, each asked for by itself."""
        wwid = self.wwid
        # Without --noflush the status would wait for the I/O that hangs.
        dm = f"dmsetup table {wwid}; dmsetup status --noflush {wwid}; dmsetup info {wwid}"
        return {
            "device mapper": lambda: self.machine.sh(dm, timeout_s=timeout_s).stdout,
            _LISTING: self.describe_paths,
        }

    def describe_paths(self) -> str:
        """`multipath -ll` for people; an excuse if it does not answer."""
        try:
            return self.machine.run(
                ["multipath", "-ll", self.wwid], timeout_s=15, check=False
            ).stdout
        except CommandTimedOut:
            return "multipath -ll did not answer within 15 s"

    def stop_queueing(self) -> None:
        """Let I/O fail instead of waiting for a path, so that nothing stays unkillable.

        Both multipathd and the device mapper are asked. multipathd would switch queueing on again
        if only the device mapper were asked. multipathd may hang, but the device mapper does not.
        """

        def tell(*argv: str) -> None:
            with suppress(CommandTimedOut):
                self.machine.run(argv, timeout_s=10, check=False)

        side_by_side(
            lambda: tell("multipathd", "disablequeueing", "map", self.wwid),
            lambda: tell("dmsetup", "message", self.wwid, "0", "fail_if_no_path"),
        )
