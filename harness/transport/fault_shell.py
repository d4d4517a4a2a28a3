"""Shell by which faults act on iscsid, multipathd, iSCSI sessions and the disks of a LUN.

Sources: systemctl(1); iscsiadm(8); multipathd(8); Documentation/ABI/testing/sysfs-class-scsi_device
and sdev_store_delete() in drivers/scsi/scsi_sysfs.c of the kernel.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.topology import Topology
from harness.transport.base import Daemon
from harness.transport.devices import SURVEY_SCRIPT, parse_survey
from harness.transport.iscsi.iscsiadm import rescan_argv

_UNITS = {Daemon.LOGIN: "iscsid.service", Daemon.PATHS: "multipathd.service"}

# Debian's units do not start a daemon that was killed; those of upstream do (Restart=on-failure).
_KILL = """\
if [ "$(systemctl show --property=Restart --value UNIT)" != no ]; then
  mkdir -p /run/systemd/system/UNIT.d
  printf '[Service]\\nRestart=no\\n' >/run/systemd/system/UNIT.d/pathproof.conf
  systemctl daemon-reload
fi
systemctl kill --signal=KILL UNIT
"""

_PROCESS = "systemctl show --property=MainPID --value UNIT"

# `reset-failed`, so that systemd does not refuse for too many starts, fails for one not loaded.
_RESTART = f"""\
was=$({_PROCESS})
systemctl reset-failed UNIT 2>/dev/null || :
systemctl restart UNIT
now=$({_PROCESS})
[ "$now" != 0 ] && [ "$now" != "$was" ]
"""

_MEND = """\
ready() {
READY}
if [ -e /run/systemd/system/UNIT.d/pathproof.conf ]; then
  rm /run/systemd/system/UNIT.d/pathproof.conf
  rmdir /run/systemd/system/UNIT.d 2>/dev/null || :
  systemctl daemon-reload
fi
if ! systemctl is-active --quiet UNIT; then
  systemctl reset-failed UNIT 2>/dev/null || :
  systemctl start UNIT
  for n in $(seq 30); do
    if ready; then break; fi
    sleep 0.3
  done
fi
"""

# An iscsid that starts logs in anew on each session that it finds, one after the other. Of one that
# it does not have yet `iscsiadm --mode session --print 1` says "Internal iscsid Session State:
# Unknown", and "REOPEN" while it logs in (print_iscsi_state() in usr/session_info.c).
_LOGIN_IS_READY = """\
told=$(iscsiadm --mode session --print 1) || exit 1
every=$(printf '%s\\n' "$told" | grep -c '^[[:space:]]*SID: ') || exit 1
for state in 'iSCSI Session State: LOGGED_IN' 'Internal iscsid Session State: NO CHANGE'; do
  [ "$(printf '%s\\n' "$told" | grep -c "$state")" = "$every" ] || exit 1
done
"""

# Real line: `pid 1234 idle`; while it starts, or reads its configuration, `pid 1234 configure`.
_PATHS_IS_READY = """\
case "$(multipathd show daemon 2>&1)" in
"pid "*" idle" | "pid "*" running") ;;
*) exit 1 ;;
esac
"""
_IS_READY = {Daemon.LOGIN: _LOGIN_IS_READY, Daemon.PATHS: _PATHS_IS_READY}

# Busy it says `timeout`, up to 0.8 `fail`, and has not begun. It exits with 0 all the same.
_RECONFIGURE = """\
for n in 1 2 3 4 5; do
  said=$(multipathd reconfigure 2>&1) || :
  case $said in
  timeout | fail) sleep 1 ;;
  *) break ;;
  esac
done
[ "$said" = ok ] || { echo "multipathd reconfigure: $said" >&2; exit 1; }
"""

_STATES = "== states of disks"
_SHOW_DISKS = rf"""{SURVEY_SCRIPT}
echo '{_STATES}'
for b in /sys/block/*; do
  value "$b/device/state"
  [ -z "$REPLY" ] || echo "${{b##*/}} $REPLY"
done
"""

# Which disks are the LUNs' is told by udev, as multipathd has it. A session that has fewer of them
# than it should is scanned.
_BRING_BACK = r"""
value() { REPLY=; { IFS= read -r REPLY <"$1"; } 2>/dev/null || :; }
for s in /sys/class/iscsi_session/session*; do
  [ -e "$s" ] || continue
  value "$s/targetname"
  case $REPLY in
CASES  *) continue ;;
  esac
  for b in "$s"/device/target*/*/block/*; do
    [ -e "$b" ] || continue
    value "$b/dev"
    number=$REPLY identity=
    if [ -e "/run/udev/data/b$number" ]; then
      while IFS= read -r REPLY; do
        case $REPLY in E:ID_SERIAL=*) identity=${REPLY#*=} ;; esac
      done <"/run/udev/data/b$number"
    fi
    case $identity in LUNS) ;; *) continue ;; esac
    missing=$((missing - 1))
    value "$b/device/state"
    [ "$REPLY" != offline ] || echo running >"$b/device/state"
  done
  [ "$missing" -le 0 ] || iscsiadm --mode session --sid "${s##*/session}" --rescan
done
"""


@dataclass(frozen=True)
class IscsiFaultShell:
    """A `FaultShell`: that of one initiator, for the LUNs of these WWIDs."""

    topology: Topology
    wwids: tuple[str, ...]

    def kill(self, daemon: Daemon) -> str:
        return _KILL.replace("UNIT", _UNITS[daemon])

    def restart(self, daemon: Daemon) -> str:
        return _RESTART.replace("UNIT", _UNITS[daemon])

    def process(self, daemon: Daemon) -> str:
        return _PROCESS.replace("UNIT", _UNITS[daemon])

    def is_ready(self, daemon: Daemon) -> str:
        return _IS_READY[daemon]

    def mend(self, daemon: Daemon) -> str:
        ready = f"sh -euc {shlex.quote(_IS_READY[daemon])}\n"
        return _MEND.replace("READY", ready).replace("UNIT", _UNITS[daemon])

    def reconfigure(self) -> str:
        return _RECONFIGURE

    def rescan(self) -> str:
        argvs = map(rescan_argv, self.topology.target_iqns)
        return "".join(f"{shlex.join(argv)}\n" for argv in argvs)

    def show_disks(self) -> str:
        return _SHOW_DISKS

    def disks(self, told: str) -> Mapping[str, Mapping[str, str]]:
        text, _, states = told.partition(f"{_STATES}\n")
        survey = parse_survey(text, self.topology.target_iqns)
        luns = {one.name for one in survey.devices if any(map(one.is_lun, self.wwids))}
        state = dict(line.split(" ", 1) for line in states.splitlines())
        found: dict[str, dict[str, str]] = {path.name: {} for path in self.topology.paths}
        for session in survey.sessions:
            if path := self.topology.path_of(session.portal, session.iface, session.target):
                names = (disk.name for disk in session.disks if disk.name in luns)
                found[path.name] |= {name: state.get(name, "gone") for name in names}
        return found

    def take_offline(self, disks: Iterable[str]) -> str:
        return "".join(f"echo offline >/sys/block/{disk}/device/state\n" for disk in disks)

    def delete(self, disks: Iterable[str]) -> str:
        return "".join(f"echo 1 >/sys/block/{disk}/device/delete\n" for disk in disks)

    def bring_disks_back(self) -> str:
        cases = "".join(
            f"  {shlex.quote(iqn)}) missing={self._luns_with(iqn)} ;;\n"
            for iqn in self.topology.target_iqns
        )
        luns = " | ".join(map(shlex.quote, self.wwids))
        return _BRING_BACK.replace("CASES", cases).replace("LUNS", luns)

    def _luns_with(self, iqn: str) -> int:
        """How many LUNs a session with that target has."""
        return sum(iqn in self.topology.iqns_of(lun) for lun in self.topology.luns)
