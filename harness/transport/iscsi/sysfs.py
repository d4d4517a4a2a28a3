"""Sessions as the kernel has them; the only truth about timeouts in force.

Sources: drivers/scsi/scsi_transport_iscsi.c for the attributes. `recv_tmo` is the interval
between NOP-Outs and `ping_tmo` the time allowed for their answer. `recovery_tmo` is "off" for a
session that never gives up (iscsi_priv_session_attr_show). A session without a connection, and
those of some HBAs, lack attributes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address

from harness.errors import InitiatorError
from harness.topology import Address, Portal
from harness.transport.iscsi.negotiated import Login

# One line per session and disk: session|target|state|address|port|iface|recovery_tmo|recv_tmo|
# ping_tmo|own address|disk|device number|wwid. A session without a disk has one line with the last
# three empty; one without a connection, no address of its own.
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
  for file in "$s/targetname" "$s/state" "$c/persistent_address" "$c/persistent_port" \
    "$s/ifacename" \
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


_COLUMNS = 13
NEVER = -1  # the kernel's own value for "off"


@dataclass(frozen=True)
class Disk:
    """A SCSI disk: `device` is its number "8:16", `wwid` as sysfs has it ("naa.6001405…")."""

    name: str
    device: str
    wwid: str


@dataclass(frozen=True)
class Session:
    """One iSCSI session, its effective timeouts in seconds, and the disks it reaches.

    `address` and `port` are the portal's, the former as text if it is a host name; `iface` is the
    interface of open-iscsi that it was made by; `own_address` is the address of the initiator's
    end, None if there is none. `recovery_tmo_s` is -1 for a
    session that never gives up. `login` is read apart.
    """

    name: str
    target: str
    state: str
    address: Address | str
    port: int
    iface: str
    recovery_tmo_s: int
    noop_out_interval_s: int
    noop_out_timeout_s: int
    own_address: Address | None
    disks: tuple[Disk, ...]
    login: Login = Login()  # noqa: RUF009  # frozen, and never changed

    @property
    def portal(self) -> Portal | None:
        """Where it was made to; None for a host name."""
        return None if isinstance(self.address, str) else Portal(self.address, self.port)


def parse_sessions(text: str, targets: Collection[str]) -> list[Session]:
    """The sessions with these targets, from SESSIONS_SCRIPT's output.

    Others are passed over, whatever is odd about them. Raises InitiatorError for a line of one of
    these that it can't read, and for one without a connection.
    """
    heads: dict[str, tuple[list[str], list[Disk]]] = {}
    for line in filter(None, text.split("\n")):
        parts = line.split("|", _COLUMNS - 1)  # a WWID may have a "|" itself
        if len(parts) > 1 and parts[1] not in targets:
            continue
        if len(parts) != _COLUMNS:
            raise InitiatorError(f"not a session line: {line!r}")
        _, disks = heads.setdefault(parts[0], (parts, []))
        if parts[10]:
            disks.append(Disk(*parts[10:13]))
    return [_session(parts, disks) for parts, disks in heads.values()]


def _session(parts: list[str], disks: list[Disk]) -> Session:
    name, target, state, address, port, iface, recovery, interval, timeout, own_address = parts[:10]
    if not address:
        raise InitiatorError(f"{name} to {target} has no connection; its state is {state}")
    try:
        return Session(
            name=name,
            target=target,
            state=state,
            address=_portal_address(address),
            port=int(port),
            iface=iface,
            recovery_tmo_s=NEVER if recovery == "off" else int(recovery),
            noop_out_interval_s=int(interval),
            noop_out_timeout_s=int(timeout),
            own_address=ip_address(own_address) if own_address else None,
            disks=tuple(disks),
        )
    except ValueError as error:
        raise InitiatorError(
            f"the attributes of {name} to {target} in sysfs are unreadable: {error}"
        ) from None


def _portal_address(text: str) -> Address | str:
    """What the node record names, which iscsid need not have resolved."""
    try:
        return ip_address(text)
    except ValueError:
        return text
