"""Settings that are in force on an initiator now, read from its daemons and never from files.

Only `login_timeout` has no other source than the node record, from which iscsid takes it at login.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.budget import Setting
from harness.deadline import Deadline, poll
from harness.errors import CommandTimedOut, InitiatorError, TimedOut
from harness.machine import Machine
from harness.topology import Portal
from harness.transport.dm_multipath.effective_config import (
    ScsiIdentity,
    Section,
    UnknownCommand,
    parse_config,
)
from harness.transport.iscsi.iscsiadm import LOGIN_TIMEOUT, parse_record, record_argv

# multipathd's own answers take 4 s at most (uxsock_timeout); it may be busy with other paths.
_LOOK_TIMEOUT_S = 15.0
_PATIENCE_S = 30.0


def multipathd_config(machine: Machine, *which: str) -> Mapping[str, Section]:
    """What multipathd goes by; `which` may be "local", for what concerns the disks that are there.

    Raises InitiatorError, with its last answer, if it doesn't tell, and UnknownCommand at once.
    """
    seen = ""

    def told() -> Mapping[str, Section] | None:
        nonlocal seen
        argv = ["multipathd", "show", "config", *which]
        try:
            done = machine.run(argv, timeout_s=_LOOK_TIMEOUT_S, check=False)
            return parse_config(done.stdout or done.stderr)
        except UnknownCommand:
            raise
        except (CommandTimedOut, InitiatorError) as error:
            seen = error.message
            return None

    try:
        return poll(
            told,
            what="the configuration of multipathd",
            deadline=Deadline.after(_PATIENCE_S),
            every_s=0.5,
            last_seen=lambda: seen,
        )
    except TimedOut as error:
        raise InitiatorError(error.message) from None


def multipath_version(machine: Machine) -> tuple[int, ...] | None:
    """The version of multipath-tools, as in (0, 9, 4); None if the tool does not print it.

    Real output, on standard error: `multipath-tools v0.9.4 (12/19, 2022)`.
    """
    said = machine.run(["multipath", "-h"], timeout_s=_LOOK_TIMEOUT_S, check=False)
    found = re.search(r"^multipath-tools v(\d+(?:\.\d+)+)\b", said.stderr + said.stdout, re.M)
    return tuple(map(int, found[1].split("."))) if found else None


def scsi_identity(machine: Machine, disk: str) -> ScsiIdentity:
    """What a disk calls itself, without the blanks behind it: multipathd drops them, too."""
    files = [f"/sys/block/{disk}/device/{name}" for name in ("vendor", "model", "rev")]
    lines = machine.run(["cat", *files], timeout_s=_LOOK_TIMEOUT_S).stdout.split("\n")
    return ScsiIdentity(*(line.rstrip() for line in lines[:3]))


def login_timeout(machine: Machine, iqn: str, portal: Portal) -> Setting:
    """How long an attempt to log in to a portal may take."""
    said = machine.run(record_argv(iqn, portal), timeout_s=_LOOK_TIMEOUT_S).stdout
    value = parse_record(said).get(LOGIN_TIMEOUT, "")
    if not value.isdecimal():
        raise InitiatorError(f"the node record of {portal} has no {LOGIN_TIMEOUT}: {value!r}")
    return Setting("login_timeout", int(value), f"node record of {portal}")
