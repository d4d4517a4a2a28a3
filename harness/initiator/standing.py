"""An initiator on a machine that is not ours: as little as possible is changed, and undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from harness.deadline import Deadline, poll
from harness.errors import InitiatorError, TimedOut
from harness.initiator import iscsiadm
from harness.initiator.found import FILES, MULTIPATH_FILES, SERVICES, Found, differences, look
from harness.initiator.initiator import Initiator
from harness.initiator.multipath import DROP_IN, WWIDS, render_drop_in
from harness.measurements import PlannedSession
from harness.steps import Spent, attach, step, warn
from harness.topology import Fabric

_TIMEOUT_S = 90.0
_SETTLING_S = 15.0
_TOOLS = {
    "iscsiadm": "open-iscsi",
    "multipath": "multipath-tools",
    "multipathd": "multipath-tools",
    "fio": "fio",
    "python3": "python3",
    "nft": "nftables",
    "wipefs": "util-linux",
}
# Goes on after a failure, and ends with its status. The drop-in is the first thing that is made.
_UNDO_SCRIPT = r"""
iqn=$1 wwid=$2 drop_in=$3 failed=0
rm -rf /run/pathproof || failed=1
[ -e "$drop_in" ] || exit $failed
if [ -e "/dev/mapper/$wwid" ]; then multipath -f "$wwid" || failed=1; fi
if iscsiadm --mode session 2>/dev/null | grep -q " $iqn "; then
  iscsiadm --mode node --targetname "$iqn" --logout || failed=1
fi
if iscsiadm --mode node --targetname "$iqn" >/dev/null 2>&1; then
  iscsiadm --mode node --targetname "$iqn" --op delete || failed=1
fi
rm -f "$drop_in" || failed=1
[ ! -e WWIDS ] || sed -i "\,^/$wwid/$,d" WWIDS || failed=1
if systemctl is-active --quiet multipathd.service; then multipathd reconfigure || failed=1; fi
exit $failed
""".replace("WWIDS", WWIDS)


class StandingInitiator(Initiator):
    """open-iscsi and multipath-tools of a machine that serves others, too.

    Its initiator name, its timeouts for failing I/O (`fast_io_fail_tmo` holds for whole arrays) and
    its other sessions and maps stay as they are.
    """

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Undo at the end of the block what was done in it, and say what is not as it was found.

        Raises InitiatorError, with nothing changed, if the machine is unfit or already in use.
        """
        self._require_tools()
        self._undo()  # what a run that was killed has left
        found = look(self.machine)
        self._require_unused()
        try:
            yield
        finally:
            with step("Leave the initiator as it was found", Spent.WAITING):
                self._undo()
                self._restore(found)
                changed = self._what_differs(found)
                attach("left as found", "\n".join(changed) or "nothing differs")
                for change in changed:
                    warn(f"{self.machine.name} is not as it was found: {change}")

    def _what_differs(self, found: Found) -> list[str]:
        """What is not as it was found, once disks and services had time to go."""
        changed: list[str] = []

        def is_as_it_was() -> bool:
            nonlocal changed
            changed = list(differences(found, look(self.machine)))
            return not changed

        with suppress(TimedOut):
            deadline = Deadline.after(_SETTLING_S)
            poll(is_as_it_was, what="the machine as it was", deadline=deadline, every_s=0.5)
        return changed

    def configure(self) -> None:
        """Tell multipathd of the LUN, by a file of its own."""
        with step("Configure the initiator", Spent.CONFIGURATION):
            conf = render_drop_in(self.wwid)
            self.machine.write_files({DROP_IN: conf}, mode=0o600)
            attach("multipath drop-in", conf)
            self.machine.run(["systemctl", "start", "multipathd.service"], timeout_s=_TIMEOUT_S)
            self.machine.run(["multipathd", "reconfigure"], timeout_s=_TIMEOUT_S)

    def log_in(self) -> None:
        """Log in on every portal, with records that are removed again, and let the map be made."""
        super().log_in()
        disks: list[str] = []

        def are_there() -> bool:
            sessions = self.sessions()
            disks[:] = [disk.name for session in sessions for disk in session.disks]
            return all(session.disks for session in sessions)

        with suppress(TimedOut):  # the preflight says what is missing
            deadline = Deadline.after(_SETTLING_S)
            poll(are_there, what="a disk of each session", deadline=deadline, every_s=0.2)
        for disk in disks[:1]:  # whatever find_multipaths says
            self.machine.run(["multipath", "-a", f"/dev/{disk}"], timeout_s=_TIMEOUT_S, check=False)
        self.machine.run(["multipathd", "reconfigure"], timeout_s=_TIMEOUT_S)

    def _discover(self, fabric: Fabric) -> None:
        """Make the one record, asking nobody: a discovery would leave those of other targets."""
        self._ask(fabric, iscsiadm.new_record_argv(self.topology.target_iqn, fabric.portal))

    def planned_sessions(self) -> tuple[PlannedSession, ...]:
        """One session a fabric; recovery is as multipathd of the machine has it."""
        recovery_tmo_s = self._fast_io_fail_in_force
        return tuple(
            replace(plan, recovery_tmo_s=recovery_tmo_s) for plan in super().planned_sessions()
        )

    def _require_tools(self) -> None:
        script = 'id -u; for tool; do command -v "$tool" >/dev/null || echo "$tool"; done'
        said = self.machine.run(["sh", "-c", script, "sh", *_TOOLS], timeout_s=_TIMEOUT_S)
        user, *missing = said.stdout.split()
        if user != "0":
            raise InitiatorError(
                f"{self.machine.name}: we are user {user} there; iSCSI and multipath take root"
            )
        if missing:
            packages = " ".join(dict.fromkeys(_TOOLS[tool] for tool in missing))
            raise InitiatorError(
                f"{self.machine.name}: {', '.join(missing)} not found",
                hint=f"on Debian: `apt install {packages}`",
            )

    def _require_unused(self) -> None:
        """Nobody else may have a session with the target: its disks could be anybody's."""
        if sessions := self.sessions():
            names = ", ".join(f"{s.name} to {s.address}" for s in sessions)
            raise InitiatorError(
                f"{self.machine.name} is logged in to {self.topology.target_iqn} already: {names}",
                hint="whoever uses it has to log out first",
            )

    def _undo(self) -> None:
        """Take everything of ours away; what cannot be is told."""
        argv = ["sh", "-uc", _UNDO_SCRIPT, "sh", self.topology.target_iqn, self.wwid, DROP_IN]
        done = self.machine.run(argv, timeout_s=_TIMEOUT_S, check=False)
        if done.status != 0:
            warn(f"{self.machine.name}: undoing left something behind: {done.stderr.strip()}")

    def _restore(self, found: Found) -> None:
        """Services that did not run, and folders that were not there."""
        idle = [line.split()[0] for line in found[SERVICES] if not line.endswith(" active")]
        if idle:  # sockets, too: they start what is asked for
            self.machine.run(["systemctl", "stop", *idle], timeout_s=_TIMEOUT_S, check=False)
        if not any(line.endswith(WWIDS) for line in found[MULTIPATH_FILES]):
            self.machine.run(["sh", "-c", f"grep -qv '^#' {WWIDS} || rm -f {WWIDS}"], check=False)
        now = look(self.machine)
        folders = [line for part in FILES for line in now[part] - found[part] if line[0] == "/"]
        for folder in sorted(folders, reverse=True):  # the tools make some at their first use
            self.machine.run(["rmdir", "--ignore-fail-on-non-empty", folder], check=False)
