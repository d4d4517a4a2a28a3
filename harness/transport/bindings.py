"""By which NIC a path logs in, where the routes do not decide it: interfaces of open-iscsi.

Source: iscsiadm(8).
"""

from __future__ import annotations

import shlex

from harness.errors import Problem
from harness.topology import Path
from harness.transport.iscsi.iscsiadm import record_argv

NO_NIC = "<empty>"


def binding_command(path: Path, target: str) -> str:
    """Shell that prints the NIC that the record of a path and target names; nothing without one.

    It is NO_NIC if the record names none.
    """
    record = record_argv(target, path.portal.portal)
    argv = [*record, "--interface", path.link.iface]
    return f"{shlex.join(argv)} 2>/dev/null | sed -n 's/^iface.net_ifacename = //p'"


def binding_problem(path: Path, device: str, found: str) -> Problem:
    """A path whose record names the NIC `found`, "" if none, instead of `device`."""
    return Problem(
        f"interface {path.link.iface} of open-iscsi, by which path {path.name} logs in, is "
        f"bound to {found or 'no NIC'} instead of {device}: the kernel may send several "
        "paths out by one NIC",
        f"`iscsiadm -m iface -I {path.link.iface} -o update -n iface.net_ifacename -v "
        f"{device}`, make its node record anew, then log out and in",
    )
