"""Sessions as the kernel has them; the only truth about timeouts in force.

Sources: drivers/scsi/scsi_transport_iscsi.c for the attributes. `recv_tmo` is the interval
between NOP-Outs and `ping_tmo` the time allowed for their answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from harness.errors import InitiatorError
from harness.initiator.negotiated import Login

# One line per session and disk: session|target|state|address|recovery_tmo|recv_tmo|ping_tmo|
# own address|disk|device number|wwid. A session without a disk has one line with the last three
# empty; one without a connection, no address of its own.
# The shell reads every file itself: under emulation each `cat` would take it 20 ms.
SESSIONS_SCRIPT = r"""
value() { REPLY=; { IFS= read -r REPLY <"$1"; } 2>/dev/null || :; }
for s in /sys/class/iscsi_session/session*; do
  [ -e "$s" ] || continue
  for c in "$s"/device/connection*/iscsi_connection/connection*; do
    [ -e "$c" ] && break
  done
  head=${s##*/}
  for h in "$s"/device/../iscsi_host/host*; do
    [ -e "$h" ] && break
  done
  for file in "$s/targetname" "$s/state" "$c/persistent_address" \
    "$s/recovery_tmo" "$c/recv_tmo" "$c/ping_tmo" "$h/ipaddress"; do
    value "$file"
    head="$head|$REPLY"
  done
  none=1
  for b in "$s"/device/target*/*/block/*; do
    [ -e "$b" ] || continue
    none=
    value "$b/dev"
    line="$head|${b##*/}|$REPLY"
    value "$b/device/wwid"
    printf '%s\n' "$line|$REPLY"  # echo would take a backslash for an escape
  done
  [ -z "$none" ] || echo "$head|||"
done
"""


@dataclass(frozen=True)
class Disk:
    """A SCSI disk: `device` is its number "8:16", `wwid` as sysfs has it ("naa.6001405…")."""

    name: str
    device: str
    wwid: str


@dataclass(frozen=True)
class Session:
    """One iSCSI session, its effective timeouts in seconds, and the disks it reaches.

    `own_address` is the initiator's end of its connection, None while there is none. `login` is
    read apart.
    """

    name: str
    target: str
    state: str
    address: IPv4Address
    recovery_tmo_s: int
    noop_out_interval_s: int
    noop_out_timeout_s: int
    own_address: IPv4Address | None
    disks: tuple[Disk, ...]
    login: Login = Login()  # noqa: RUF009  # frozen, and never changed


def parse_sessions(text: str) -> list[Session]:
    """Sessions from SESSIONS_SCRIPT's output. Raises InitiatorError for a line it can't read."""
    heads: dict[str, tuple[list[str], list[Disk]]] = {}
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) != 11:
            raise InitiatorError(f"not a session line: {line!r}")
        _, disks = heads.setdefault(parts[0], (parts, []))
        if parts[8]:
            disks.append(Disk(*parts[8:11]))
    try:
        return [
            Session(
                name=parts[0],
                target=parts[1],
                state=parts[2],
                address=IPv4Address(parts[3]),
                recovery_tmo_s=int(parts[4]),
                noop_out_interval_s=int(parts[5]),
                noop_out_timeout_s=int(parts[6]),
                own_address=IPv4Address(parts[7]) if parts[7] else None,
                disks=tuple(disks),
            )
            for parts, disks in heads.values()
        ]
    except ValueError as error:
        raise InitiatorError(f"a session's attributes in sysfs are unreadable: {error}") from None
