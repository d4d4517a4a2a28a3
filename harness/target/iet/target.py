"""One machine as an IET target: configure, compare, change, disconnect, restart."""

from __future__ import annotations

from collections.abc import Sequence

from harness.config.credentials import ChapConfig, Confidential
from harness.config.iet import IetOptions
from harness.config.model import TargetConfig, TargetKind
from harness.deadline import Deadline, poll
from harness.errors import CommandTimedOut, ConfigError, TargetError, TimedOut
from harness.machine import Completed
from harness.steps import Spent, attach, step
from harness.target.base import Target, storage_path, storage_script
from harness.target.capabilities import Capabilities
from harness.target.iet import conf, daemon, ietadm, proc
from harness.target.iet.conf import Unit, WantedTarget
from harness.target.iet.daemon import Daemon
from harness.target.iet.proc import ServedTarget, Session
from harness.topology import Lun, Topology

_TIMEOUT_S = 60.0
_START_TIMEOUT_S = 30.0
# IET answers at once or not at all, and a connection is gone within a second.
_IETADM_TIMEOUT_S = 20.0
_GONE_TIMEOUT_S = 20.0
_WAIT = conf.KEYWORDS["default_time2wait_s"]


class IetTarget(Target):
    """Targets with the LUNs, on the data addresses only, for the initiators' addresses only.

    What changes a target while it runs does so to the first one, unless `iqn` names another.
    """

    kind: TargetKind = "iet"
    vendor = "IET"
    product = "VIRTUAL-DISK"
    capabilities = Capabilities(persistent_reservations=True, chap=True, mutual_chap=True)

    def wwid_of(self, lun: Lun) -> str:
        return conf.wwid_of(_scsi_id(lun))

    @property
    def wanted(self) -> tuple[WantedTarget, ...]:
        """What ietd.conf asks for."""
        return tuple(
            wanted_target(self.config, self.topology, iqn) for iqn in self.topology.target_iqns
        )

    def configure(self) -> None:
        with step("Configure the target (IET)", Spent.CONFIGURATION):
            self._require_iet()
            text = conf.render_conf(self.wanted)
            files: dict[str, str | bytes] = {
                conf.CONF: Confidential(text.encode()),
                conf.TARGETS_ALLOW: conf.render_allow(
                    {conf.ALL: list(dict.fromkeys(p.portal.address for p in self.topology.portals))}
                ),
                conf.INITIATORS_ALLOW: conf.render_allow(
                    {conf.ALL: [link.address for link in self.topology.links]}
                ),
            }
            self.machine.write_files(files, mode=0o600)
            attach("ietd.conf", conf.without_secrets(text))
            self.machine.sh(storage_script(self.config, self.topology))
            self.restart()

    def restart(self) -> None:
        """Serve what ietd.conf says, and compare. Sessions end, and what `ietadm` had changed.

        Raises TargetError if ietd does not serve exactly that.
        """
        port = self.topology.portals[0].portal.port
        self.machine.sh(daemon.STOP_SCRIPT, timeout_s=_TIMEOUT_S)
        self.machine.run(daemon.start_argv(port), timeout_s=_TIMEOUT_S)
        seen: Daemon | None = None

        def ready() -> bool:
            nonlocal seen
            seen = self._look()
            return seen.is_ready

        try:
            poll(
                ready,
                what=f"ietd listens on port {port}",
                deadline=Deadline.after(_START_TIMEOUT_S),
                last_seen=lambda: str(seen),
            )
        except TimedOut as error:
            raise self._refused(error.message) from None
        if problems := self._problems():
            raise self._refused("ietd does not serve what it was asked for: " + "; ".join(problems))

    def sessions(self) -> list[Session]:
        """The targets' sessions as they see them; a silent initiator's is among them for long."""
        sessions = proc.parse_sessions(self._bounded(["cat", proc.SESSIONS]).stdout)
        return [session for session in sessions if session.target in self.topology.target_iqns]

    def disconnect(self, session: Session) -> None:
        """Close a session's connections, and wait until it is gone. The initiator comes back."""
        for connection in session.connections:
            self._ietadm(ietadm.delete_connection(session.tid, session.sid, connection.cid))
        poll(
            lambda: session.sid not in {left.sid for left in self.sessions()},
            what=f"the end of IET's session {session.sid}",
            deadline=Deadline.after(_GONE_TIMEOUT_S),
        )

    def add_unit(self, unit: Unit, iqn: str = "") -> None:
        """Serve one more LUN. Initiators must scan for it: IET tells them nothing."""
        self._ietadm(ietadm.new_lun(self._tid(iqn), unit.number, conf.unit_parameters(unit)))

    def remove_unit(self, number: int, iqn: str = "") -> None:
        """Serve a LUN no longer, whether it is in use or not."""
        self._ietadm(ietadm.delete_lun(self._tid(iqn), number))

    def update(self, options: IetOptions, iqn: str = "") -> None:
        """Change the options that are set, for the target and for sessions to come."""
        if options.max_sessions is not None:
            raise ConfigError("max_sessions: IET takes it from ietd.conf only")
        if options.nop_interval_s == 0:
            raise ConfigError("nop_interval_s: IET drops healthy sessions if it becomes 0")
        changes = conf.named(options)
        if lists := [name for name, value in changes.items() if "," in value]:
            raise ConfigError(f"{lists[0]}: ietadm takes one value, ietd.conf several")
        tid = self._tid(iqn)
        self._ietadm(ietadm.update(tid, changes))
        if problems := self._option_problems(tid, options):
            raise TargetError(f"IET did not take an option: {'; '.join(problems)}")

    def redirect(self, destination: str, iqn: str = "") -> None:
        """Send logins to another portal, `address[:port]`; nowhere else if it is empty."""
        self._ietadm(ietadm.redirect(self._tid(iqn), destination))

    def require_logins(self) -> None:
        """The initiator's kernel does not know DefaultTime2Wait, and iscsid does not show it."""
        wanted = conf.named(self.config.iet).get(_WAIT)
        if wanted is None:
            return
        for session in self.sessions():
            shown = self._ietadm(ietadm.show_session(session.tid, session.sid)).stdout
            has = ietadm.parse_options(shown).get(_WAIT, "not shown")
            if has != wanted:
                addresses = ", ".join(one.address for one in session.connections)
                raise TargetError(
                    f"{_WAIT} of the session from {addresses} is {has}, not {wanted}",
                    hint="the larger one of both ends' counts; open-iscsi's is 2, "
                    "node.session.iscsi.DefaultTime2Wait in its records",
                )

    def _require_iet(self) -> None:
        done = self.machine.sh(daemon.REQUIRE_SCRIPT, timeout_s=_TIMEOUT_S, check=False)
        if done.status != 0:
            reason = done.stderr.strip() or f"exit status {done.status}"
            raise TargetError(
                f"{self.machine.name}: there is no IET in this guest: {reason}",
                hint="docs/iet.md says how to bring its packages into the target's image",
            )

    def _look(self) -> Daemon:
        port = self.topology.portals[0].portal.port
        return daemon.parse_look(self._bounded(["sh", "-c", daemon.look_script(port)]).stdout)

    def _tid(self, iqn: str) -> int:
        iqn = iqn or self.topology.target_iqn
        for target in self._look().targets:
            if target.name == iqn:
                return target.tid
        raise TargetError(f"IET does not serve {iqn}")

    def _problems(self) -> list[str]:
        """How what is served differs from what was asked for."""
        targets = self._look().targets
        if problems := differences(self.wanted, targets):
            return problems
        tids = {target.name: target.tid for target in targets}
        for wanted in self.wanted:
            problems += self._option_problems(tids[wanted.iqn], wanted.options)
            problems += self._account_problems(tids[wanted.iqn], wanted.chap)
        return problems

    def _account_problems(self, tid: int, chap: ChapConfig | None) -> list[str]:
        """A line that ietd could not read would let everybody in."""
        if chap is None:
            return []
        asked = {"IncomingUser": chap.incoming.user}
        if chap.outgoing:
            asked["OutgoingUser"] = chap.outgoing.user
        shown = ietadm.parse_accounts(self._ietadm(ietadm.show_accounts(tid)).stdout)
        return [
            f"{direction} is {shown.get(direction, 'not set')}, not {user}"
            for direction, user in asked.items()
            if shown.get(direction) != user
        ]

    def _option_problems(self, tid: int, options: IetOptions) -> list[str]:
        asked = conf.named(options)
        asked.pop(conf.KEYWORDS["max_sessions"], None)  # it is shown nowhere
        if not asked:
            return []
        shown = [self._ietadm(ietadm.show(tid)), self._ietadm(ietadm.show_session(tid))]
        served = ietadm.parse_options("".join(done.stdout for done in shown))
        return [
            f"{name} is {served.get(name, 'not shown')}, not {value}"
            for name, value in asked.items()
            if served.get(name) != value
        ]

    def _ietadm(self, argv: Sequence[str]) -> Completed:
        done = self._bounded(argv, check=False)
        if done.status != 0:
            raise TargetError(
                f"{self.machine.name}: {' '.join(argv)}: exit status "
                f"{ietadm.describe_status(done.status)}: {done.stderr.strip()}"
            )
        return done

    def _bounded(self, argv: Sequence[str], *, check: bool = True) -> Completed:
        """Run what may hang with IET. Raises TargetError if it does."""
        try:
            return self.machine.run(argv, timeout_s=_IETADM_TIMEOUT_S, check=check)
        except CommandTimedOut as error:
            raise TargetError(
                error.message,
                hint="IET does not answer while a closing connection waits for stuck backend I/O",
            ) from None

    def _refused(self, problem: str) -> TargetError:
        log = self.machine.sh(daemon.LOG_SCRIPT, timeout_s=_TIMEOUT_S, check=False).stdout.strip()
        return TargetError(f"{self.machine.name}: {problem}\n{log}", hint="docs/iet.md")


def wanted_target(config: TargetConfig, topology: Topology, iqn: str = "") -> WantedTarget:
    """One target, the first without `iqn`, with its LUNs from 0 on, their identities pinned.

    blockio has no cache: fileio serves a disk that is to be written back.
    """
    iqn = iqn or topology.target_iqn
    writes_back = config.write_cache == "write-back"
    units = tuple(
        Unit(
            number,
            "blockio" if config.backstore == "block" and not writes_back else "fileio",
            storage_path(config, lun),
            io_mode="wb" if writes_back else "wt",
            scsi_id=_scsi_id(lun),
            scsi_sn=lun.serial,
            size=lun.size,
        )
        for number, lun in enumerate(topology.luns_of(iqn))
    )
    return WantedTarget(iqn, units, config.iet, config.chap)


def differences(wanted: Sequence[WantedTarget], served: Sequence[ServedTarget]) -> list[str]:
    """How what is served differs from what was asked for, one line each.

    Identities are shown nowhere: the initiator sees them. Old versions do not show sizes.
    """
    asked: dict[str, dict[str, object]] = {}
    for target in wanted:
        asked[target.iqn] = {}
        for unit in target.units:
            asked[f"LUN {unit.number} of {target.iqn}"] = {
                "Type": unit.io_type,
                "IOMode": unit.io_mode,
                "Path": unit.path,
                "BlockSize": unit.block_size,
                "size": unit.size,
            }
    shown: dict[str, dict[str, object]] = {}
    for found in served:
        shown[found.name] = {}
        for volume in found.volumes:
            shown[f"LUN {volume.lun} of {found.name}"] = {
                "Type": volume.io_type,
                "IOMode": volume.io_mode,
                "Path": volume.path,
                "BlockSize": volume.block_size,
                "size": volume.size,
            }
    return [
        *(f"{what} is missing" for what in asked if what not in shown),
        *(f"{what} was not asked for" for what in shown if what not in asked),
        *(
            f"{name} of {what} is {shown[what][name]}, not {value}"
            for what in asked
            if what in shown
            for name, value in asked[what].items()
            if value is not None and shown[what][name] not in (None, value)
        ),
    ]


def _scsi_id(lun: Lun) -> str:
    return lun.serial[:16]
