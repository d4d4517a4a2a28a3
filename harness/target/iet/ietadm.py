"""ietadm(8), which changes what ietd serves; nothing of it outlives ietd.

An account's secret would have to stand on its command line: accounts are for ietd.conf alone.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping

# What an error number means here, where it is not what it says.
_MEANINGS = {
    errno.ENOENT: "no such target, LUN, session or file",
    errno.EINVAL: "invalid",
    errno.EEXIST: "it exists already, or there is no such connection",
    errno.EBUSY: "the target has sessions",
    errno.ENOTBLK: "not a block device",
    errno.ECONNREFUSED: "ietd does not run",
}


def new_lun(tid: int, lun: int, parameters: str) -> list[str]:
    """Add a LUN; `parameters` as on a line of ietd.conf."""
    return ["ietadm", "--op", "new", f"--tid={tid}", f"--lun={lun}", "--params", parameters]


def delete_lun(tid: int, lun: int) -> list[str]:
    """Take a LUN away, also from under its sessions."""
    return ["ietadm", "--op", "delete", f"--tid={tid}", f"--lun={lun}"]


def delete_connection(tid: int, sid: int, cid: int) -> list[str]:
    """Close a connection, and its session if it was the last; returns before it is gone."""
    return ["ietadm", "--op", "delete", f"--tid={tid}", f"--sid={sid}", f"--cid={cid}"]


def update(tid: int, options: Mapping[str, str]) -> list[str]:
    """Change options, named as in ietd.conf."""
    parameters = ",".join(f"{name}={value}" for name, value in options.items())
    return ["ietadm", "--op", "update", f"--tid={tid}", f"--params={parameters}"]


def redirect(tid: int, destination: str) -> list[str]:
    """Send logins to `destination`, an `address[:port]`; none if it is empty."""
    return ["ietadm", "--op", "update", f"--tid={tid}", f"--redirect={destination}"]


def show(tid: int) -> list[str]:
    """The target's own options. Without a number ietadm would try to make a target."""
    return ["ietadm", "--op", "show", f"--tid={tid}"]


def show_session(tid: int, sid: int = 0) -> list[str]:
    """A session's options; of session 0 those that are offered to every one."""
    return ["ietadm", "--op", "show", f"--tid={tid}", f"--sid={sid}"]


def show_accounts(tid: int) -> list[str]:
    """The names of a target's accounts, without their secrets."""
    return ["ietadm", "--op", "show", f"--tid={tid}", "--user"]


def parse_accounts(text: str) -> dict[str, str]:
    """Names by direction, as `IncomingUser initiator-1` is printed, one a line."""
    return dict(re.findall(r"^(IncomingUser|OutgoingUser) (.*)$", text, re.MULTILINE))


def parse_options(text: str) -> dict[str, str]:
    """Options by name, as `Wthreads=4` and `HeaderDigest=None,CRC32C` are printed, one a line."""
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def describe_status(status: int) -> str:
    """What ietadm's exit status means: `256 - errno`, such as "240 (EBUSY: …)"."""
    number = 256 - status
    name = errno.errorcode.get(number, "unknown")
    return f"{status} ({name}: {_MEANINGS.get(number, os.strerror(number))})"
