"""What the login of each session came to: where its connection is, and what was negotiated.

Sources: drivers/scsi/scsi_transport_iscsi.c and iscsi_tcp.c of the kernel for the attributes;
RFC 7143 section 11.13.5 for logins that are redirected. `persistent_address` is that of the record,
`address` that of the socket. DefaultTime2Wait is iscsid's own affair, and no attribute.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from harness.config.negotiation import KEYS
from harness.errors import InitiatorError
from harness.topology import Portal

# One line per session: session|portal by its record|portal of its socket|attribute=value|…
# Without a connection both portals are ":", and while it is down the second one. It follows
# SESSIONS_SCRIPT, whose `value` it uses, and calls nothing either.
LOGINS_SCRIPT = r"""
for s in /sys/class/iscsi_session/session*; do
  [ -e "$s" ] || continue
  for c in "$s"/device/connection*/iscsi_connection/connection*; do
    [ -e "$c" ] && break
  done
  line=${s##*/}
  for end in persistent_ ""; do
    value "$c/${end}address"
    line="$line|$REPLY"
    value "$c/${end}port"
    line="$line:$REPLY"
  done
  for name in header_digest data_digest max_recv_dlength max_xmit_dlength; do
    value "$c/$name"
    line="$line|$name=$REPLY"
  done
  for name in initial_r2t immediate_data max_outstanding_r2t first_burst_len max_burst_len; do
    value "$s/$name"
    line="$line|$name=$REPLY"
  done
  printf '%s\n' "$line"
done
"""

_DIGEST = {"0": "None", "1": "CRC32C"}
_FLAG = {"0": "No", "1": "Yes"}
# What the numbers of an attribute mean in a login, where they are no plain numbers.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "header_digest": _DIGEST,
    "data_digest": _DIGEST,
    "initial_r2t": _FLAG,
    "immediate_data": _FLAG,
}
# The attributes that are named otherwise than the options.
_ATTRIBUTES = {
    "max_recv_data_segment_length": "max_recv_dlength",
    "max_xmit_data_segment_length": "max_xmit_dlength",
    "first_burst_length": "first_burst_len",
    "max_burst_length": "max_burst_len",
}
_KEYS = {_ATTRIBUTES.get(option, option): key for option, key in KEYS.items()}
_NONE = ":"


@dataclass(frozen=True)
class Login:
    """`portal` is where the login was sent, `connected_to` where the connection is, "" if nowhere.

    Both as `172.16.0.1:3260`. `negotiated`: values by their names in a login, as far as the driver
    tells of them.
    """

    portal: str = ""
    connected_to: str = ""
    negotiated: Mapping[str, str] = field(default_factory=dict)


def parse_logins(text: str, sessions: Collection[str]) -> dict[str, Login]:
    """The logins of these sessions by their names, from LOGINS_SCRIPT's output.

    Real line, of Linux 6.1: `session1|172.16.0.1:3260|172.16.1.1:3261|header_digest=0|…`. Other
    sessions are passed over. Raises InitiatorError for a line of one of these that it can't read.
    """
    logins = {}
    for line in text.split("\n"):
        name, *parts = line.split("|")
        if name not in sessions:
            continue
        if len(parts) != 2 + len(_KEYS):
            raise InitiatorError(f"not a line about a login: {line!r}")
        portal, connected_to = ("" if end == _NONE else _as_planned(end) for end in parts[:2])
        negotiated = {}
        for part in parts[2:]:
            attribute, _, value = part.partition("=")
            if value:
                words = _WORDS.get(attribute, {})
                negotiated[_KEYS[attribute]] = words.get(value, value)
        logins[name] = Login(portal, connected_to, negotiated)
    return logins


def _as_planned(end: str) -> str:
    """Address and port as a Portal is written; a host name stays as it is.

    The kernel writes IPv6 addresses in full, as `fd00:0172:0016:0000:0000:0000:0000:0001:3260`
    (iscsi_sw_tcp_conn_get_param() in drivers/scsi/iscsi_tcp.c).
    """
    address, _, port = end.rpartition(":")
    try:
        return str(Portal(ip_address(address.strip("[]")), int(port)))
    except ValueError:
        return end
