"""An initiator on an existing machine: as little as possible is changed, and undone."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event

from harness.deadline import Deadline, poll
from harness.errors import HarnessError, InitiatorError, TimedOut, defects
from harness.steps import Spent, attach, step, warn
from harness.topology import TargetPortal
from harness.transport import in_force
from harness.transport.dm_multipath import multipathd
from harness.transport.dm_multipath.effective_config import UnknownCommand
from harness.transport.dm_multipath.multipath_conf import DROP_IN, WWIDS, render_drop_in
from harness.transport.initiator import IscsiInitiator
from harness.transport.iscsi import iscsiadm
from harness.transport.state_before import (
    FILES,
    MULTIPATH_FILES,
    UNITS,
    MachineState,
    active_units,
    differences,
    look,
)
from harness.transport.tools import multipathd_problem, tool_problem, tools_argv

_TIMEOUT_S = 90.0
_SETTLING_S = 15.0
# Goes on after a failure, and ends with its status. The drop-in is the first thing that is made,
# and the only one who knows what: a run that was killed may have been for other LUNs. So it goes
# last, and stays if something else does.
_UNDO_SCRIPT = (
    r"""
drop_in=$1 failed=0
[ -e "$drop_in" ] || exit 0
iqns=$(sed -n 's/^# target //p' "$drop_in")
luns=$(sed -n 's/^# lun \(.*\) .*/\1/p' "$drop_in")
if [ -z "$iqns" ] || [ -z "$luns" ]; then
  echo "$drop_in does not say what it is for" >&2
  exit 1
fi
for table in $(nft list tables | sed -n 's/^table inet \(pathproof_drop_.*\)/\1/p'); do
  nft delete table inet "$table" || failed=1
done
there=
for wwid in $luns; do
  name=$(echo "$wwid" | sed 's/,/\\x2c/g')  # as libdm calls it
  [ -e "/dev/mapper/$name" ] || continue
  there="$there $wwid"
  multipathd disablequeueing map "$wwid" >/dev/null
  dmsetup message "$wwid" 0 fail_if_no_path
done
if [ -n "$there" ]; then
  pkill -f '^[^ ]+ --output-format=json --output=RUN/report.json RUN/job.fio$' && sleep 1
fi
for wwid in $there; do
  multipath -f -R 10 "$wwid" || failed=1
done
for iqn in $iqns; do
  if iscsiadm --mode session 2>/dev/null | grep -qF " $iqn "; then
    iscsiadm --mode node --targetname "$iqn" --logout || failed=1
  fi
  if iscsiadm --mode node --targetname "$iqn" >/dev/null 2>&1; then
    iscsiadm --mode node --targetname "$iqn" --op delete || failed=1
  fi
done
for wwid in $(sed -n 's/^# lun \(.*\) new$/\1/p' "$drop_in"); do
  [ -e WWIDS ] || continue
  grep -vxF "/$wwid/" WWIDS >WWIDS.new
  cat WWIDS.new >WWIDS && rm WWIDS.new || failed=1
done
rm -rf /run/pathproof || failed=1
[ $failed = 0 ] || exit 1
if active=$(grep '^# active' "$drop_in"); then
  for unit in UNITS; do
    case "$active " in *" $unit "*) ;; *) systemctl stop "$unit" ;; esac
  done
fi
# Its comments stay until multipathd has really begun: busy, it says "timeout" (up to 0.8 "fail"),
# and exits with 0.
grep '^#' "$drop_in" >"$drop_in.new" && mv "$drop_in.new" "$drop_in" || exit 1
for attempt in 1 2 3 4 5; do
  pgrep -x multipathd >/dev/null || break
  said=$(multipathd reconfigure 2>&1)
  [ "$said" = ok ] && break
  [ $attempt = 5 ] && echo "multipathd reconfigure: $said" >&2 && exit 1
  sleep 1
done
rm -f "$drop_in"
""".replace("WWIDS", WWIDS)
    .replace("RUN", "/run/pathproof/fio(/[^ /]+)?")
    .replace("UNITS", " ".join(UNITS))
)
# Held as long as the one who asked for it is connected; open-iscsi itself locks another.
_LOCK_ARGV = ["flock", "--nonblock", "--close", "/etc/iscsi", "sh", "-c", "echo held; exec cat"]


class ExistingInitiator(IscsiInitiator):
    """open-iscsi and multipath-tools of a machine that serves others, too.

    Its initiator name, its timeouts for failing I/O (`fast_io_fail_tmo` holds for whole arrays) and
    its other sessions and maps stay as they are.
    """

    services = "multipathd"

    @contextmanager
    def borrowed(self, fio: str = "fio") -> Iterator[None]:
        """Undo at the end of the block what was done in it, and say what is not as it was found.

        `fio` is the one that will run there. Raises InitiatorError, with nothing changed, if the
        machine is unfit or already in use.
        """
        self.require_tools(fio)
        with self._alone():
            self._undo()  # what a run that was killed has left
            before = look(self.machine)
            self._require_multipathd(before)
            self.require_unused()
            try:
                yield
            finally:
                with step("Leave the initiator as it was found", Spent.WAITING):
                    for action in (self._undo, self._restore, self._compare):
                        self._tried(action, before)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two runs would undo each other's work. Raises InitiatorError if there is another."""
        held = Event()
        with self.machine.background(_LOCK_ARGV, on_line=lambda _: held.set()) as holder:
            poll(
                lambda: held.is_set() or not holder.running,
                what="the lock on the machine",
                deadline=Deadline.after(_TIMEOUT_S),
            )
            if not held.is_set():
                raise InitiatorError(
                    f"another run of Pathproof is on {self.machine.name}",
                    hint="wait until it has ended; `fuser -v /etc/iscsi` there tells of it",
                )
            yield

    def _tried(self, action: Callable[[MachineState], None], before: MachineState) -> None:
        """Try it: an error is a warning, and does not stop what follows."""
        led_here = sys.exception()
        try:
            action(before)
        except HarnessError as error:
            if defects(error, beyond=led_here):
                raise
            warn(
                f"{self.machine.name} may not be as it was found: {error.message}; "
                "the next run on it undoes what is left of this one"
            )

    def _compare(self, before: MachineState) -> None:
        changed = self._what_differs(before)
        attach("left as found", "\n".join(changed) or "nothing differs")
        for change in changed:
            warn(f"{self.machine.name} is not as it was found: {change}")

    def _what_differs(self, before: MachineState) -> list[str]:
        """What is not as it was found, once disks and services had time to go."""
        changed: list[str] = []

        def is_as_it_was() -> bool:
            nonlocal changed
            changed = list(differences(before, look(self.machine)))
            return not changed

        with suppress(TimedOut):
            deadline = Deadline.after(_SETTLING_S)
            poll(is_as_it_was, what="the machine as it was", deadline=deadline, every_s=0.5)
        return changed

    def configure(self) -> None:
        """Tell multipathd of the LUNs, by a file of its own."""
        with step("Configure the initiator", Spent.CONFIGURATION):
            known = {wwid: self._is_known(wwid) for wwid in self.wwids}
            active = active_units(look(self.machine))
            iqns = self.topology.target_iqns
            conf = render_drop_in(known, iqns, self.grouping, active=active)
            self.machine.write_files({DROP_IN: conf}, mode=0o600)
            attach("multipath drop-in", conf)
            for wwid in (one for one in self.wwids if not known[one]):
                # Before its disks appear, whatever find_multipaths says.
                argv = ["sh", "-c", f'echo "/$1/" >>{WWIDS}', "sh", wwid]
                self.machine.run(argv, timeout_s=_TIMEOUT_S)
            multipathd.order(self.machine, "reconfigure")

    def _is_known(self, wwid: str) -> bool:
        """Whether multipath-tools of the machine has made a map of the LUN before."""
        argv = ["grep", "--quiet", "--line-regexp", "--fixed-strings", f"/{wwid}/", WWIDS]
        return self.machine.run(argv, timeout_s=_TIMEOUT_S, check=False).status == 0

    def _discover(self, at: TargetPortal, ifaces: Sequence[str]) -> None:
        """Make the records without asking: a discovery would leave those of other targets."""
        for iqn in self.topology.iqns_at(at):
            for iface in ifaces:
                self._ask(at, iscsiadm.new_record_argv(iqn, at.portal, iface))

    def _recovery_demanded(self) -> int | None:
        """The value that the machine's multipathd sets, whatever the profile says."""
        return self._recovery_by_multipathd()

    def _prepare_records(self, iqn: str) -> None:
        """Also correct the records where the machine's defaults for new records differ."""
        argv = ["iscsiadm", "--mode", "node", "--targetname", iqn]
        records = self.machine.run(argv, timeout_s=_TIMEOUT_S).stdout
        if settings := iscsiadm.settings_to_mend(records):
            self.machine.run(iscsiadm.update_argv(iqn, settings), timeout_s=_TIMEOUT_S)
        super()._prepare_records(iqn)

    @property
    def has_traces(self) -> bool:
        """Whether there is what a run has made: one that goes on, or one that was killed."""
        argv = ["test", "-e", DROP_IN]
        return self.machine.run(argv, timeout_s=_TIMEOUT_S, check=False).status == 0

    def require_tools(self, fio: str = "fio") -> None:
        """Raises InitiatorError if a tool is missing or too old; changes nothing."""
        said = self.machine.run(tools_argv(fio), timeout_s=_TIMEOUT_S)
        if problem := tool_problem(said.stdout, fio):
            cause, cure = problem
            raise InitiatorError(f"{self.machine.name}: {cause}", hint=cure)

    def require_services(self) -> None:
        """Raises InitiatorError if it does not run or would not heed a run; changes nothing."""
        self._require_multipathd(look(self.machine))

    def _require_multipathd(self, before: MachineState) -> None:
        """Started for us it would make maps of other disks, too."""
        if "multipathd.service" not in active_units(before):
            raise InitiatorError(
                f"multipathd does not run on {self.machine.name}",
                hint="`systemctl start multipathd`, once it is sure which maps it will make",
            )
        try:
            config = in_force.multipathd_config(self.machine, "local")
        except UnknownCommand as error:
            raise InitiatorError(
                f"{self.machine.name}: {error.message}",
                hint="multipath-tools 0.7.8 or newer, with `show config local`, is needed",
            ) from None
        if problem := multipathd_problem(config):
            cause, cure = problem
            raise InitiatorError(f"{self.machine.name}: {cause}", hint=cure)

    def require_unused(self) -> None:
        """The machine may have no session with the target yet: another's disks could be on it.

        Nor a record of it, whose settings and secrets would be lost, nor a LUN by another way:
        the run would take over its map. Else it raises InitiatorError; it changes nothing.
        """
        devices = self.survey().devices
        for wwid in self.wwids:
            if there := [d.name for d in devices if d.is_map_of(wwid) or d.is_lun(wwid)]:
                raise InitiatorError(
                    f"{self.machine.name} has the LUN {wwid} already: {', '.join(there)}",
                    hint="the program that uses it must release it first",
                )
        if sessions := self.sessions():
            names = ", ".join(f"{s.name} to {s.target} at {s.address}" for s in sessions)
            raise InitiatorError(
                f"{self.machine.name} is logged in already: {names}",
                hint="the program that uses it must log out first",
            )
        for iqn in self.topology.target_iqns:
            argv = ["iscsiadm", "--mode", "node", "--targetname", iqn]
            if self.machine.run(argv, timeout_s=_TIMEOUT_S, check=False).status == 0:
                raise InitiatorError(
                    f"{self.machine.name} has records of {iqn} already",
                    hint=f"if they are not needed: `{shlex.join([*argv, '--op', 'delete'])}`",
                )

    def _undo(self, _: MachineState | None = None) -> None:
        """Take away what runs have made; warn of what cannot be."""
        argv = ["sh", "-uc", _UNDO_SCRIPT, "sh", DROP_IN]
        done = self.machine.run(argv, timeout_s=_TIMEOUT_S, check=False)
        if done.status != 0:
            warn(f"{self.machine.name}: undoing left something behind: {done.stderr.strip()}")

    def _restore(self, before: MachineState) -> None:
        """Files and folders of the tools that were not there."""
        if not any(line.endswith(WWIDS) for line in before[MULTIPATH_FILES]):
            self.machine.run(["sh", "-c", f"grep -qv '^#' {WWIDS} || rm -f {WWIDS}"], check=False)
        now = look(self.machine)
        folders = [line for part in FILES for line in now[part] - before[part] if line[0] == "/"]
        for folder in sorted(folders, reverse=True):  # the tools make some at their first use
            self.machine.run(["rmdir", "--ignore-fail-on-non-empty", folder], check=False)
