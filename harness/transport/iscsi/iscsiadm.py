"""open-iscsi's administration tool: iscsiadm(8)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from harness.config.negotiation import KEYS, LoginOptions, as_text
from harness.config.profiles import Profile
from harness.topology import Portal

# Exit statuses: include/iscsi_err.h of open-iscsi. Connections are tried again before these.
AUTHORIZATION_FAILED = 24
FATAL_LOGIN = 19
_NO_OBJECTS_FOUND = 21
_DATABASE = 6
_OF_CONNECTION, _OF_SESSION = "node.conn[0].iscsi", "node.session.iscsi"
_CONNECTION = {
    "header_digest",
    "data_digest",
    "max_recv_data_segment_length",
    "max_xmit_data_segment_length",
}
_REASONS = {
    4: "does not answer",
    5: "does not answer, or not like a target",
    8: "does not answer in time",
    11: "does not answer in time",
    FATAL_LOGIN: "login refused for good",
    AUTHORIZATION_FAILED: "login rejected: authorization failure (02/01 or 02/02)",
}

LOGIN_TIMEOUT = "node.conn[0].timeo.login_timeout"


@dataclass(frozen=True)
class DiscoveredNode:
    """One line of a SendTargets discovery (RFC 7143 appendix C)."""

    portal: Portal
    portal_group: int
    iqn: str


def bind_argvs(iface: str, nic: str) -> list[list[str]]:
    """Make an interface whose sessions go through one NIC, whatever the routes are."""
    argv = ["iscsiadm", "--mode", "iface", "--interface", iface]
    return [
        [*argv, "--op", "new"],
        [*argv, "--op", "update", "--name", "iface.net_ifacename", "--value", nic],
    ]


def discovery_argv(portal: Portal, ifaces: Sequence[str] = ()) -> list[str]:
    """Ask one portal which targets it knows; the answers become node records of `ifaces`.

    All at once: a discovery by one interface removes the records of the others.
    """
    argv = ["iscsiadm", "--mode", "discovery", "--type", "sendtargets", "--portal", str(portal)]
    return [*argv, *(word for iface in ifaces for word in _by(iface))]


def _by(iface: str) -> list[str]:
    return ["--interface", iface] if iface else []


def known_discovery_argv(portal: Portal, *operation: str) -> list[str]:
    """Do something with the record of a portal that was asked, such as `--discover` again."""
    mode = ["iscsiadm", "--mode", "discoverydb", "--type", "sendtargets"]
    return [*mode, "--portal", str(portal), *operation]


def new_record_argv(iqn: str, portal: Portal, iface: str = "") -> list[str]:
    """Make the record of one portal and one interface without asking the portal."""
    return [*record_argv(iqn, portal), *_by(iface), "--op", "new"]


def record_argv(iqn: str, portal: Portal) -> list[str]:
    """Show the node record of one portal."""
    return ["iscsiadm", "--mode", "node", "--targetname", iqn, "--portal", str(portal)]


def parse_record(text: str) -> dict[str, str]:
    """Settings of a node record; lines of another form are passed over.

    Real output: `node.conn[0].timeo.login_timeout = 15`
    """
    lines = (line.partition(" = ") for line in text.splitlines())
    return {name: value.strip() for name, separator, value in lines if separator}


def update_argv(iqn: str, settings: dict[str, str]) -> list[str]:
    """Change settings in every node record of a target; they apply at the next login."""
    argv = ["iscsiadm", "--mode", "node", "--targetname", iqn, "--op", "update"]
    for name, value in settings.items():
        argv += ["--name", name, "--value", value]
    return argv


def login_argv(iqn: str, portal: Portal, iface: str = "") -> list[str]:
    """Make one session from one interface to one portal."""
    return [*record_argv(iqn, portal), *_by(iface), "--login"]


def rescan_argv(iqn: str) -> list[str]:
    """Look for LUNs in every session with a target, and anew at those that are known."""
    return ["iscsiadm", "--mode", "node", "--targetname", iqn, "--rescan"]


def logout_argv(iqn: str) -> list[str]:
    """End every session of a target."""
    return ["iscsiadm", "--mode", "node", "--targetname", iqn, "--logout"]


def forget_argv(iqn: str) -> list[str]:
    """Delete every node record of a target."""
    return ["iscsiadm", "--mode", "node", "--targetname", iqn, "--op", "delete"]


def node_settings(profile: Profile, offers: LoginOptions) -> dict[str, str]:
    """The node record's settings for a profile and offers; empty where they leave all alone.

    `replacement_timeout` is not among them: multipathd overwrites what it sets.
    """
    wanted = {
        "node.conn[0].timeo.noop_out_interval": profile.noop_out_interval_s,
        "node.conn[0].timeo.noop_out_timeout": profile.noop_out_timeout_s,
        LOGIN_TIMEOUT: profile.login_timeout_s,
    }
    settings = {name: str(value) for name, value in wanted.items() if value is not None}
    for name, value in offers.model_dump(exclude_none=True).items():
        settings[f"{_OF_CONNECTION if name in _CONNECTION else _OF_SESSION}.{KEYS[name]}"] = (
            as_text(value)
        )
    return settings


def insists(offers: LoginOptions) -> bool:
    """Whether a login fails, by open-iscsi itself, unless the target does digests."""
    return "CRC32C" in {offers.header_digest, offers.data_digest}


def settings_to_mend(records: str) -> dict[str, str]:
    """The settings of a target's records that would not make one session that finds its disks.

    New records have it from the machine's iscsid.conf. Old versions lack some of these, and then
    do what is wanted: `nr_sessions` came with open-iscsi 2.0-873, `scan` with 2.0.875. Real lines
    of `iscsiadm --mode node --targetname IQN`:

        node.session.nr_sessions = 1
        node.session.scan = auto
    """
    needed = {"node.session.nr_sessions": "1", "node.session.scan": "auto"}
    said = set(re.findall(r"^(node\.\S+) = (.*?) *$", records, re.MULTILINE))
    return {
        name: wanted
        for name, wanted in needed.items()
        if any(name == key and value != wanted for key, value in said)
    }


def parse_discovery(text: str) -> list[DiscoveredNode]:
    """Nodes from SendTargets output, in its order; lines of another form are passed over.

    Real output: `172.16.0.1:3260,1 iqn.2026-01.io.pathproof:storage`
    """
    nodes = []
    for line in text.splitlines():
        if match := re.fullmatch(r"(\S+):(\d+),(-?\d+) (\S+)", line.strip()):
            try:
                address = ip_address(match[1].strip("[]"))
            except ValueError:  # a host name
                continue
            nodes.append(DiscoveredNode(Portal(address, int(match[2])), int(match[3]), match[4]))
    return nodes


def found_nothing(status: int, said: str) -> bool:
    """Whether a logout or a deletion failed for want of a session or a record.

    Seen with open-iscsi 2.1.8: 21 for sessions and nodes, and for the record of a discovery 6, as
    for any trouble with the records, and `Discovery record [172.16.0.1,3260] not found.`
    """
    return status == _NO_OBJECTS_FOUND or (status == _DATABASE and "not found" in said)


def reason(status: int) -> str:
    """Why a discovery or a login ended with that exit status."""
    return _REASONS.get(status, f"iscsiadm ended with status {status}")
