"""One initiator: log in on every path, assemble the map, tell its state, leave no trace."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from harness.budget import Reconnecting
from harness.concurrency import side_by_side
from harness.config.credentials import ChapConfig
from harness.config.model import PathGrouping, Profile
from harness.config.negotiation import Negotiation
from harness.deadline import Deadline, poll
from harness.errors import CommandTimedOut, HarnessError, InitiatorError
from harness.initiator import chap, in_force, iscsiadm, multipath
from harness.initiator.devices import SURVEY_SCRIPT, Survey, parse_survey
from harness.initiator.multipath import Map
from harness.initiator.multipathd_config import polling, recovery_demanded
from harness.initiator.negotiated import LOGINS_SCRIPT, Login, parse_logins
from harness.initiator.sysfs import SESSIONS_SCRIPT, Session, parse_sessions
from harness.initiator.wwid import map_name
from harness.machine import Machine
from harness.measurements import PlannedSession, SessionSettings
from harness.steps import Spent, attach, step
from harness.topology import Fabric, Portal, Role, Topology

# Every one of these ends by itself on a healthy machine; under TCG the slowest took 4 s.
_TOOL_TIMEOUT_S = 90.0
_MAP_TIMEOUT_S = 90.0
_LOGINS = "== logins"
_LOGINS_TOO = f"\necho '{_LOGINS}'\n{LOGINS_SCRIPT}"
_LOOK_TIMEOUT_S = 15.0  # of one look while a map comes up
_ORDER_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Path:
    """A path of the map: its disk, the fabric it runs over, and the portal that it is reached by.

    The portal stays when the disk gets another name and number; it is "" if it is not known.
    """

    name: str
    device: str
    fabric: str
    portal: str = ""


class Initiator:
    """open-iscsi and multipath-tools on one machine, for the one LUN of a testbed."""

    def __init__(
        self,
        machine: Machine,
        topology: Topology,
        profile: Profile,
        wwid: str,
        credentials: ChapConfig | None = None,
        grouping: PathGrouping = "multibus",
        *,
        negotiation: Negotiation | None = None,
    ) -> None:
        self.machine = machine
        self.topology = topology
        self.profile = profile
        self.wwid = wwid
        self.credentials = credentials
        self.grouping = grouping
        self.negotiation = negotiation or Negotiation()

    @property
    def device(self) -> str:
        """The map's device file."""
        return f"/dev/mapper/{map_name(self.wwid)}"

    def configure(self) -> None:
        """Write the configuration and start the daemons."""
        with step("Configure the initiator", Spent.CONFIGURATION):
            ours = Role.TARGET in self.topology.guests
            conf = multipath.render_conf(self.wwid, self.profile, self.grouping, ours=ours)
            name = f"InitiatorName={self.topology.initiator_iqn}\n"
            self.machine.write_files(
                {"/etc/iscsi/initiatorname.iscsi": name, multipath.CONF: conf},
                mode=0o600,
            )
            attach("multipath.conf", conf)
            self.machine.run(
                ["systemctl", "restart", "iscsid.service", "multipathd.service"],
                timeout_s=_TOOL_TIMEOUT_S,
            )

    def log_in(self) -> None:
        """Discover on every portal, apply the profile, log in on every portal.

        Raises InitiatorError for a portal that does not answer or refuses.
        """
        with step("Discover and log in on every path", Spent.CONFIGURATION):
            for fabric in self.topology.fabrics:
                self._discover(fabric)
            for iqn in self.topology.target_iqns:
                self._prepare_records(iqn)
            for fabric in self.topology.fabrics:
                self._ask(fabric, iscsiadm.login_argv(fabric.iqn, fabric.portal))

    def _prepare_records(self, iqn: str) -> None:
        """What the profile and the credentials say, for the next login."""
        if settings := iscsiadm.node_settings(self.profile, self.negotiation.offers):
            self.machine.run(iscsiadm.update_argv(iqn, settings), timeout_s=_TOOL_TIMEOUT_S)
        if self.credentials:
            lines = chap.node_lines(self.credentials)
            self.machine.run(chap.node_argv(iqn), stdin=lines, timeout_s=_TOOL_TIMEOUT_S)

    def _discover(self, fabric: Fabric) -> None:
        offers = self._ask(fabric, iscsiadm.discovery_argv(fabric.portal), by_chap=True)
        found = iscsiadm.parse_discovery(offers)
        if not any(n.portal == fabric.portal and n.iqn == fabric.iqn for n in found):
            names = {n.iqn for n in found} - {fabric.iqn}
            alike = [name for name in names if name.lower() == fabric.iqn.lower()]
            raise InitiatorError(
                f"portal {fabric.portal} (fabric {fabric.name}) does not offer {fabric.iqn}; "
                f"it said: {offers.strip() or 'nothing'}",
                hint=f"write its name as it does: {alike[0]}" if alike else "",
            )
        portals = [each.portal for each in self.topology.fabrics]
        more = [str(n.portal) for n in found if n.iqn == fabric.iqn and n.portal not in portals]
        if more and Role.TARGET in self.topology.guests:
            raise InitiatorError(
                f"portal {fabric.portal} (fabric {fabric.name}) offers {fabric.iqn} at "
                f"{', '.join(more)}, too, which is on no fabric"
            )

    def _ask(self, fabric: Fabric, argv: Sequence[str], *, by_chap: bool = False) -> str:
        """What iscsiadm says, after another try `by_chap` if a discovery wants it.

        Raises InitiatorError with the portal and the reason.
        """
        where = f"portal {fabric.portal} (fabric {fabric.name})"
        try:
            done = self.machine.run(argv, timeout_s=_TOOL_TIMEOUT_S, check=False)
        except CommandTimedOut as error:
            raise InitiatorError(f"{where}: does not answer\n{error.message}") from None
        if done.status == iscsiadm.AUTHORIZATION_FAILED and by_chap and self.credentials:
            self._prepare_discovery_by_chap(fabric.portal, self.credentials)
            return self._ask(fabric, iscsiadm.known_discovery_argv(fabric.portal, "--discover"))
        if done.status != 0:
            raise InitiatorError(
                f"{where}: {iscsiadm.reason(done.status)}\n{(done.stderr or done.stdout).strip()}",
                hint=self._cure(done.status),
            )
        return done.stdout

    def _prepare_discovery_by_chap(self, portal: Portal, credentials: ChapConfig) -> None:
        for argv, lines in (
            (iscsiadm.known_discovery_argv(portal, "--op", "new"), b""),
            (chap.discovery_argv(portal), chap.discovery_lines(credentials)),
        ):
            self.machine.run(argv, stdin=lines, timeout_s=_TOOL_TIMEOUT_S)

    def _cure(self, status: int) -> str:
        """What may help, for people."""
        credentials = self.credentials
        if status == iscsiadm.FATAL_LOGIN and iscsiadm.insists(self.negotiation.offers):
            return "the target may not do the digests that [initiator.iscsi] insists on"
        if status == iscsiadm.FATAL_LOGIN and credentials and credentials.outgoing:
            return "the target may have proven itself by another user or secret than `outgoing`"
        if status != iscsiadm.AUTHORIZATION_FAILED:
            return ""
        if credentials:
            return "the target has another user or secret, or does not admit this initiator"
        return f"it wants CHAP (--credentials), or does not admit {self.topology.initiator_iqn}"

    def wait_for_map(self) -> None:
        """Wait until the map has every path, one per fabric, all active."""
        wanted = len(self.topology.fabrics)
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
        """Until udev has made the map's file: what writes before then makes a plain file there."""
        argv = ["test", "-b", self.device]
        poll(
            lambda: self.machine.run(argv, timeout_s=_TOOL_TIMEOUT_S, check=False).status == 0,
            what=f"the block device {self.device}",
            deadline=Deadline.after(_MAP_TIMEOUT_S),
            every_s=0.2,
        )

    def sessions(self) -> list[Session]:
        """This target's sessions, with their effective timeouts."""
        script = SESSIONS_SCRIPT + _LOGINS_TOO
        text = self.machine.sh(script, timeout_s=_TOOL_TIMEOUT_S).stdout
        sessions, _, logins = text.partition(f"{_LOGINS}\n")
        return with_logins(parse_sessions(sessions, self.topology.target_iqns), logins)

    def survey(self) -> Survey:
        """This target's sessions and all block devices of the machine, at one look."""
        script = SURVEY_SCRIPT + _LOGINS_TOO
        text = self.machine.sh(script, timeout_s=_TOOL_TIMEOUT_S).stdout
        survey, _, logins = text.partition(f"{_LOGINS}\n")
        seen = parse_survey(survey, self.topology.target_iqns)
        return replace(seen, sessions=tuple(with_logins(seen.sessions, logins)))

    def fabric_of(self, session: Session) -> str:
        """The fabric that a session runs over. Raises InitiatorError for an unknown address."""
        fabric = self.topology.fabric_of(session.address)
        if fabric is None:
            raise InitiatorError(f"{session.name} runs to {session.address}, which is on no fabric")
        return fabric.name

    def planned_sessions(self) -> tuple[PlannedSession, ...]:
        """One session a fabric, with what the profile demands of it.

        `recovery_tmo` is multipathd's to set: where the profile leaves it alone, that of its
        configuration is demanded.
        """
        profile, recovery_tmo_s = self.profile, self._recovery_demanded()
        return tuple(
            PlannedSession(
                fabric.name,
                profile.noop_out_interval_s,
                profile.noop_out_timeout_s,
                recovery_tmo_s,
                portal=str(fabric.portal),
                negotiated=self.negotiation.demanded,
            )
            for fabric in self.topology.fabrics
        )

    def _recovery_demanded(self) -> int | None:
        """What the profile says, or else what multipathd sets on this machine."""
        return self.profile.fast_io_fail_s or self._recovery_by_multipathd()

    def _recovery_by_multipathd(self) -> int | None:
        """What multipathd sets for sessions with this LUN; None also while no path is there."""
        disk = next((d.name for d in self.survey().devices if d.is_lun(self.wwid)), None)
        if disk is None:
            return None
        identity = in_force.scsi_identity(self.machine, disk)
        return recovery_demanded(in_force.multipathd_config(self.machine), identity)

    def reconnecting(self) -> Reconnecting:
        """What decides how soon a healed path is used again; the slowest fabric counts."""
        logins = [
            in_force.login_timeout(self.machine, fabric.iqn, fabric.portal)
            for fabric in self.topology.fabrics
        ]
        config = in_force.multipathd_config(self.machine)
        return Reconnecting(
            login_timeout=max(logins, key=lambda one: one.seconds),
            polling=polling(config, self._multipath_version),
        )

    @cached_property
    def _multipath_version(self) -> tuple[int, ...] | None:
        return in_force.multipath_version(self.machine)

    def settings_of(self, sessions: Sequence[Session]) -> tuple[SessionSettings, ...]:
        """The effective timeouts of sessions, and the fabrics that they run through."""
        return tuple(
            SessionSettings(
                fabric=self.fabric_of(s),
                noop_out_interval_s=s.noop_out_interval_s,
                noop_out_timeout_s=s.noop_out_timeout_s,
                recovery_tmo_s=s.recovery_tmo_s,
                through=self._own_fabric(s),
                connected_to=s.login.connected_to,
                negotiated=s.login.negotiated,
                state=s.state,
            )
            for s in sessions
        )

    def _own_fabric(self, session: Session) -> str:
        """The fabric that the initiator's end of a session is on, "" if on none."""
        fabric = session.own_address and self.topology.fabric_of(session.own_address)
        return fabric.name if fabric else ""

    def paths(self) -> tuple[Path, ...]:
        """The paths to the LUN in the order of the fabrics: exactly one per fabric.

        Raises InitiatorError if a fabric has none or several; other LUNs are none of ours.
        """
        found = self.paths_by_fabric()
        if wrong := {name: paths for name, paths in found.items() if len(paths) != 1}:
            raise InitiatorError(
                f"each fabric must carry exactly one path to {self.wwid}; instead: {wrong}"
            )
        return tuple(paths[0] for paths in found.values())

    def paths_by_fabric(self) -> dict[str, list[Path]]:
        """The paths to the LUN that there are now over each fabric, by the name of the fabric.

        Sessions with the target that are on no fabric are for the preflight to tell of.
        """
        return self._paths_of(self.survey())

    def paths_in_use(self) -> dict[str, Path]:
        """The path over each fabric by its name: the disk in the map, or else the only one.

        A disk that died may stay beside the one that took its place. Where several are in the map,
        or several and none of them, it is not known which one is the path.
        """
        survey = self.survey()
        below = {name for one in survey.devices if one.is_map_of(self.wwid) for name in one.below}
        found = {}
        for fabric, paths in self._paths_of(survey).items():
            in_map = [path for path in paths if path.name in below]
            if len(candidates := in_map or paths) == 1:
                found[fabric] = candidates[0]
        return found

    def _paths_of(self, survey: Survey) -> dict[str, list[Path]]:
        luns = {device.name for device in survey.devices if device.is_lun(self.wwid)}
        found: dict[str, list[Path]] = {f.name: [] for f in self.topology.fabrics}
        for session in survey.sessions:
            if fabric := self.topology.fabric_of(session.address):
                found[fabric.name] += [
                    Path(disk.name, disk.device, fabric.name, str(fabric.portal))
                    for disk in session.disks
                    if disk.name in luns
                ]
        return found

    def _map_now(self) -> Map | None:
        """The map as multipathd has it, or None. Raises InitiatorError if it doesn't tell.

        As long as it is busy, or starts, it may say `timeout`, or a part of the answer, or nothing.
        """
        argv = ["multipathd", "show", "maps", "json"]
        answer = self.machine.run(argv, timeout_s=_LOOK_TIMEOUT_S, check=False)
        return multipath.find_map(answer.stdout or answer.stderr, self.wwid)

    def take_path_away(self, name: str) -> None:
        """Take a healthy path out of the map, as an administrator would."""
        self._multipathd("del", "path", name)

    def give_path_back(self, name: str) -> None:
        """Undo `take_path_away`."""
        self._multipathd("add", "path", name)

    def _multipathd(self, *command: str) -> None:
        """Give an order, again as long as multipathd is too busy to take it.

        Then it says `timeout` and has not begun. It exits with 0 all the same. Up to 0.8 it says
        `fail` to `reconfigure` for that (cli_reconfigure() in multipathd/cli_handlers.c).
        """
        busy = {"timeout", "fail"} if command == ("reconfigure",) else {"timeout"}
        said = ""

        def taken() -> bool:
            nonlocal said
            answer = self.machine.run(
                ["multipathd", *command], timeout_s=_TOOL_TIMEOUT_S, check=False
            )
            said = (answer.stdout or answer.stderr).strip()
            return said not in busy

        what = f"multipathd {' '.join(command)}"
        deadline = Deadline.after(_ORDER_TIMEOUT_S)
        poll(taken, what=what, deadline=deadline, every_s=0.5, last_seen=lambda: said)
        if said != "ok":
            raise InitiatorError(f"{what}: {said}")

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

        multipathd would switch queueing on again if only the device mapper were told; the
        device mapper is told as well, in case multipathd hangs.
        """

        def tell(*argv: str) -> None:
            with suppress(CommandTimedOut):
                self.machine.run(argv, timeout_s=10, check=False)

        side_by_side(
            lambda: tell("multipathd", "disablequeueing", "map", self.wwid),
            lambda: tell("dmsetup", "message", self.wwid, "0", "fail_if_no_path"),
        )

    def log_out(self) -> None:
        """Flush the map, end the sessions, forget the records; what is not there is no failure.

        Tries everything. Raises InitiatorError with all that was left behind.
        """
        iqns = self.topology.target_iqns
        commands: Sequence[Sequence[str]] = (
            multipath.flush_argv(self.device),
            *map(iscsiadm.logout_argv, iqns),
            *map(iscsiadm.forget_argv, iqns),
            *(
                iscsiadm.known_discovery_argv(fabric.portal, "--op", "delete")
                for fabric in self.topology.fabrics
            ),
        )
        failures: list[str] = []
        for argv in commands:
            try:
                done = self.machine.run(argv, timeout_s=_TOOL_TIMEOUT_S, check=False)
            except HarnessError as error:
                failures.append(error.message)
                continue
            if done.status != 0 and not iscsiadm.found_nothing(done.status, done.stderr):
                said = (done.stderr or done.stdout).strip()
                failures.append(f"{shlex.join(argv)}: exit status {done.status}: {said}")
        if failures:
            raise InitiatorError(
                f"{self.machine.name}: logging out left something behind:\n" + "\n".join(failures)
            )


def with_logins(sessions: Sequence[Session], text: str) -> list[Session]:
    """Sessions with what LOGINS_SCRIPT printed of each."""
    logins = parse_logins(text, {session.name for session in sessions})
    return [replace(s, login=logins.get(s.name, Login())) for s in sessions]
