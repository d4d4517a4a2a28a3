"""CHAP on the initiator: credentials in open-iscsi's records.

iscsiadm(8) takes a secret as an argument only, where everybody on the machine can see it. So
the lines that it would write are put into its records, which only root can read, by standard input.
Source: usr/idbm.c and usr/idbm_fields.h of open-iscsi.
"""

from __future__ import annotations

from harness.config.credentials import ChapConfig, Confidential
from harness.topology import Portal

# Where distributions keep them: Debian; Red Hat, SUSE.
_DATABASES = ("/etc/iscsi", "/var/lib/iscsi")
_NODE = "node.session.auth."
_DISCOVERY = "discovery.sendtargets.auth."

# Arguments: the prefix of the settings, then the folders of the records. Prints each record.
_SCRIPT = r"""
umask 077
prefix=$1
shift
lines=$(cat)
for folder; do
  [ -d "$folder" ] || continue
  find "$folder" -type f | while read -r record; do
    chmod 600 "$record"
    sed -i "/^$prefix\(authmethod\|username\|password\)/d" "$record"
    printf '%s\n' "$lines" >>"$record"
    echo "$record"
  done
done
"""


def node_argv(iqn: str) -> list[str]:
    """Put `node_lines` from standard input into every node record of a target."""
    return _argv(_NODE, f"nodes/{iqn}")


def discovery_argv(portal: Portal) -> list[str]:
    """Put `discovery_lines` from standard input into the record of a SendTargets portal."""
    return _argv(_DISCOVERY, f"send_targets/{portal.address},{portal.port}")


def _argv(prefix: str, below: str) -> list[str]:
    folders = [f"{database}/{below}" for database in _DATABASES]
    return ["sh", "-euc", _SCRIPT, "sh", prefix, *folders]


def node_lines(chap: ChapConfig) -> Confidential:
    """The settings of a session; they apply at the next login."""
    return _lines(_NODE, chap)


def discovery_lines(chap: ChapConfig) -> Confidential:
    """The settings of a discovery, for targets that want CHAP even there."""
    return _lines(_DISCOVERY, chap)


def _lines(prefix: str, chap: ChapConfig) -> Confidential:
    settings = {
        "authmethod": "CHAP",
        "username": chap.incoming.user,
        "password": chap.incoming.revealed,
    }
    if chap.outgoing:
        settings |= {"username_in": chap.outgoing.user, "password_in": chap.outgoing.revealed}
    text = "".join(f"{prefix}{name} = {value}\n" for name, value in settings.items())
    return Confidential(text.encode())
