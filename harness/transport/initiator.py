"""One initiator: log in on every path, tell the state of its sessions, leave no trace."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from harness.config.credentials import ChapConfig
from harness.config.model import PathGrouping
from harness.config.negotiation import Negotiation
from harness.config.profiles import Profile
from harness.errors import CommandTimedOut, HarnessError, InitiatorError
from harness.machine import Machine
from harness.measurements import PlannedSession, SessionSettings
from harness.steps import Spent, attach, step
from harness.topology import Path, Portal, Role, TargetPortal, Topology
from harness.transport import in_force
from harness.transport.allowances import InForce
from harness.transport.base import Fitness, WantedLun
from harness.transport.devices import SURVEY_SCRIPT, Survey, parse_survey
from harness.transport.dm_multipath import multipath_conf
from harness.transport.dm_multipath.attachment import MultipathAttachment
from harness.transport.dm_multipath.effective_config import polling, recovery_demanded
from harness.transport.fault_shell import IscsiFaultShell
from harness.transport.fitness.look import fitness
from harness.transport.iscsi import chap, iscsiadm
from harness.transport.iscsi.negotiated import LOGINS_SCRIPT, Login, parse_logins
from harness.transport.iscsi.settings import planned_session, session_settings
from harness.transport.iscsi.sysfs import SESSIONS_SCRIPT, Session, parse_sessions

# Every one of these ends by itself on a healthy machine; under TCG the slowest took 4 s.
_TOOL_TIMEOUT_S = 90.0
# The kernel shows the access state of a disk only if its handler was there before the disk; else
# it comes with the first map. A kernel without device handlers has no such module.
_START = """
modprobe --quiet scsi_dh_alua || :
systemctl restart iscsid.service multipathd.service
"""
_LOGINS = "== logins"
_LOGINS_TOO = f"\necho '{_LOGINS}'\n{LOGINS_SCRIPT}"


class IscsiInitiator:
    """open-iscsi and multipath-tools on one machine, for the LUNs of a testbed.

    `wwids` are those of the LUNs, in the order of the topology; each has its map in `attachments`.
    """

    look_yourself = "`iscsiadm -m session -P 3` and `multipath -ll` there may say more"

    def __init__(
        self,
        machine: Machine,
        topology: Topology,
        profile: Profile,
        wwids: tuple[str, ...],
        credentials: ChapConfig | None = None,
        grouping: PathGrouping = "multibus",
        *,
        negotiation: Negotiation | None = None,
    ) -> None:
        self.machine = machine
        self.topology = topology
        self.profile = profile
        self.credentials = credentials
        self.grouping = grouping
        self.negotiation = negotiation or Negotiation()
        self.attachments = tuple(
            MultipathAttachment(machine, topology, w, self.survey) for w in wwids
        )

    @property
    def wwids(self) -> tuple[str, ...]:
        """Those of the LUNs."""
        return tuple(one.wwid for one in self.attachments)

    def configure(self) -> None:
        """Write the configuration and start the daemons."""
        with step("Configure the initiator", Spent.CONFIGURATION):
            made = Role.TARGET in self.topology.guests
            conf = multipath_conf.render_conf(
                *(self.wwids, self.profile, self.grouping),
                target_is_made=made,
                version=self._multipath_version,
            )
            name = f"InitiatorName={self.topology.initiator_iqn}\n"
            self.machine.write_files(
                {"/etc/iscsi/initiatorname.iscsi": name, multipath_conf.CONF: conf},
                mode=0o600,
            )
            attach("multipath.conf", conf)
            self.machine.sh(_START, timeout_s=_TOOL_TIMEOUT_S)

    def log_in(self) -> None:
        """Discover on every path, apply the profile, log in on every path to every target.

        Raises InitiatorError for a portal that does not answer or refuses.
        """
        with step("Discover and log in on every path", Spent.CONFIGURATION):
            for portal in self.topology.portals:
                self._discover(portal, self.topology.ifaces_to(portal))
            for iqn in self.topology.target_iqns:
                self._prepare_records(iqn)
            for path, iqn in self.topology.logins:
                argv = iscsiadm.login_argv(iqn, path.portal.portal, path.link.iface)
                self._ask(path.portal, argv)

    def bind(self, nics: Mapping[str, str]) -> None:
        """Make an interface of open-iscsi for each NIC that shares its subnet with another.

        `nics`: the machine's name of the NIC at each link.
        """
        for link in self.topology.links:
            if link.bound:
                device = self.topology.network(link.network).device(nics[link.name])
                for argv in iscsiadm.bind_argvs(link.iface, device):
                    self.machine.run(argv, timeout_s=_TOOL_TIMEOUT_S)

    def _prepare_records(self, iqn: str) -> None:
        """What the profile and the credentials say, for the next login."""
        if settings := iscsiadm.node_settings(self.profile, self.negotiation.offers):
            self.machine.run(iscsiadm.update_argv(iqn, settings), timeout_s=_TOOL_TIMEOUT_S)
        if self.credentials:
            lines = chap.node_lines(self.credentials)
            self.machine.run(chap.node_argv(iqn), stdin=lines, timeout_s=_TOOL_TIMEOUT_S)

    def _discover(self, at: TargetPortal, ifaces: Sequence[str]) -> None:
        """Make the records of a portal: of each target, one for each interface of open-iscsi."""
        offers = self._ask(at, iscsiadm.discovery_argv(at.portal, ifaces), by_chap=True)
        for iqn in self.topology.iqns_at(at):
            self._require_offered(at, iqn, offers)

    def _require_offered(self, at: TargetPortal, iqn: str, offers: str) -> None:
        """Raises InitiatorError if a portal does not offer a target, or has it elsewhere, too."""
        portal, found = at.portal, iscsiadm.parse_discovery(offers)
        if not any(n.portal == portal and n.iqn == iqn for n in found):
            names = {n.iqn for n in found} - {iqn}
            alike = [name for name in names if name.lower() == iqn.lower()]
            raise InitiatorError(
                f"portal {at} does not offer {iqn}; it said: {offers.strip() or 'nothing'}",
                hint=f"write its name as it does: {alike[0]}" if alike else "",
            )
        portals = [each.portal for each in self.topology.portals]
        more = [str(n.portal) for n in found if n.iqn == iqn and n.portal not in portals]
        if more and Role.TARGET in self.topology.guests:
            raise InitiatorError(
                f"portal {at} offers {iqn} at {', '.join(more)}, too, which is on no "
                "network of the testbed"
            )

    def _ask(self, at: TargetPortal, argv: Sequence[str], *, by_chap: bool = False) -> str:
        """What iscsiadm says, after another try `by_chap` if a discovery wants it.

        Raises InitiatorError with the portal and the reason.
        """
        where, portal = f"portal {at}", at.portal
        try:
            done = self.machine.run(argv, timeout_s=_TOOL_TIMEOUT_S, check=False)
        except CommandTimedOut as error:
            raise InitiatorError(f"{where}: does not answer\n{error.message}") from None
        if done.status == iscsiadm.AUTHORIZATION_FAILED and by_chap and self.credentials:
            self._prepare_discovery_by_chap(portal, self.credentials)
            return self._ask(at, iscsiadm.known_discovery_argv(portal, "--discover"))
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

    def wait_for_maps(self) -> None:
        """Wait until every map has every path, all of them active."""
        for attachment in self.attachments:
            attachment.wait_for_map()

    def sessions(self) -> list[Session]:
        """The sessions with the targets, with their effective timeouts."""
        script = SESSIONS_SCRIPT + _LOGINS_TOO
        text = self.machine.sh(script, timeout_s=_TOOL_TIMEOUT_S).stdout
        sessions, _, logins = text.partition(f"{_LOGINS}\n")
        return with_logins(parse_sessions(sessions, self.topology.target_iqns), logins)

    def survey(self) -> Survey:
        """The sessions with the targets and all block devices of the machine, at one look."""
        script = SURVEY_SCRIPT + _LOGINS_TOO
        text = self.machine.sh(script, timeout_s=_TOOL_TIMEOUT_S).stdout
        survey, _, logins = text.partition(f"{_LOGINS}\n")
        seen = parse_survey(survey, self.topology.target_iqns)
        return replace(seen, sessions=tuple(with_logins(seen.sessions, logins)))

    def planned_sessions(self) -> tuple[PlannedSession, ...]:
        """One session for each path and target, with what the profile demands of it.

        `recovery_tmo` is multipathd's to set: where the profile leaves it alone, that of its
        configuration is demanded.
        """
        profile, recovery_tmo_s = self.profile, self._recovery_demanded()
        return tuple(
            planned_session(
                path.name,
                profile.noop_out_interval_s,
                profile.noop_out_timeout_s,
                recovery_tmo_s,
                portal=str(path.portal.portal),
                through=path.link.name,
                negotiated=self.negotiation.demanded,
                target=iqn,
            )
            for path, iqn in self.topology.logins
        )

    def _recovery_demanded(self) -> int | None:
        """What the profile says, or else what multipathd sets on this machine."""
        return self.profile.fast_io_fail_s or self._recovery_by_multipathd()

    def _recovery_by_multipathd(self) -> int | None:
        """What multipathd sets for sessions with these LUNs; None also while no path is there."""
        devices = self.survey().devices
        disk = next((d.name for d in devices if any(map(d.is_lun, self.wwids))), None)
        if disk is None:
            return None
        identity = in_force.scsi_identity(self.machine, disk)
        return recovery_demanded(in_force.multipathd_config(self.machine), identity)

    def allowances(self) -> InForce:
        """How long a path may take to go and to return, by what is in force now.

        The slowest portal counts.
        """
        logins = [
            in_force.login_timeout(self.machine, iqn, portal.portal)
            for portal in self.topology.portals
            for iqn in self.topology.iqns_at(portal)
        ]
        config = in_force.multipathd_config(self.machine)
        return InForce(
            login_timeout=max(logins, key=lambda one: one.seconds),
            polling=polling(config, self._multipath_version),
            sessions=len(self.topology.logins),
        )

    @property
    def for_faults(self) -> IscsiFaultShell:
        """How faults act on it."""
        return IscsiFaultShell(self.topology, self.wwids)

    @cached_property
    def _multipath_version(self) -> tuple[int, ...] | None:
        return in_force.multipath_version(self.machine)

    def settings_of(self, sessions: Sequence[Session]) -> tuple[SessionSettings, ...]:
        """The effective timeouts of those sessions that are on a path, and their links."""
        return tuple(
            session_settings(
                path.name,
                s.noop_out_interval_s,
                s.noop_out_timeout_s,
                s.recovery_tmo_s,
                link.name if (link := self.topology.link_of(s.own_address)) else "",
                connected_to=s.login.connected_to,
                negotiated=s.login.negotiated,
                state=s.state,
                target=s.target,
            )
            for s in sessions
            if (path := self.path_of(s))
        )

    def session_settings(self) -> tuple[SessionSettings, ...]:
        """The same of the sessions that there are now."""
        return self.settings_of(self.sessions())

    def fitness(self, luns: Sequence[WantedLun]) -> Fitness:
        """What of sessions, paths and maps is not as planned at this moment."""
        return fitness(self, luns)

    def hang_evidence(self, timeout_s: float) -> Mapping[str, Callable[[], str]]:
        """The sessions as the kernel has them."""
        script = SESSIONS_SCRIPT
        return {"iSCSI sessions": lambda: self.machine.sh(script, timeout_s=timeout_s).stdout}

    def path_of(self, session: Session) -> Path | None:
        """The path that a session is on; None for one that was not planned."""
        return self.topology.path_of(session.portal, session.iface, session.target)

    def log_out(self) -> None:
        """Flush every map, end the sessions, forget the records; what is not there is no failure.

        Tries everything. Raises InitiatorError with all that was left behind.
        """
        iqns = self.topology.target_iqns
        commands: Sequence[Sequence[str]] = (
            *(multipath_conf.flush_argv(one.device) for one in self.attachments),
            *map(iscsiadm.logout_argv, iqns),
            *map(iscsiadm.forget_argv, iqns),
            *(
                iscsiadm.known_discovery_argv(portal.portal, "--op", "delete")
                for portal in self.topology.portals
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
