"""An iSCSI session's settings in force, as data that the rest of the harness understands.

Sources: iscsi_check_transport_timeouts() and iscsi_conn_start() in drivers/scsi/libiscsi.c,
drivers/scsi/scsi_transport_iscsi.c; RFC 7143.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from harness.measurements import PlannedSession, SessionSettings, Timeout

LOGGED_IN = "LOGGED_IN"  # state of a session, drivers/scsi/scsi_transport_iscsi.c
NOOP_OUT_INTERVAL = "noop_out_interval"
NOOP_OUT_TIMEOUT = "noop_out_timeout"
RECOVERY = "recovery_tmo"


def session_settings(
    path: str,
    noop_out_interval_s: int,
    noop_out_timeout_s: int,
    recovery_tmo_s: int,
    through: str = "",
    *,
    connected_to: str = "",
    negotiated: Mapping[str, str] | None = None,
    state: str = LOGGED_IN,
    target: str = "",
) -> SessionSettings:
    """What is in force on a session, from the values of /sys/class/iscsi_session and _connection.

    The kernel sends no NOP-Out if the interval is 0, and replaces a timeout of 0. Without NOP-Outs
    both are 0. `recovery_tmo` is negative if the session never gives up; 0 is a limit: I/O fails at
    once.
    """
    found = negotiated or {}
    timeouts = (
        Timeout(NOOP_OUT_INTERVAL, noop_out_interval_s, noop_out_interval_s or inf),
        Timeout(NOOP_OUT_TIMEOUT, noop_out_timeout_s, noop_out_timeout_s or inf),
        Timeout(RECOVERY, recovery_tmo_s, recovery_tmo_s if recovery_tmo_s >= 0 else inf),
    )
    return SessionSettings(
        path=path,
        timeouts=timeouts,
        text=(
            f"NOP-Out {noop_out_interval_s} + {noop_out_timeout_s} s, recovery_tmo {timeouts[-1]}"
        ),
        through=through,
        connected_to=connected_to,
        negotiated=found,
        unsettled=_unsettled(found),
        state=state,
        is_up=state == LOGGED_IN,
        target=target,
    )


def _unsettled(negotiated: Mapping[str, str]) -> frozenset[str]:
    """The values that say nothing beside the others.

    FirstBurstLength is not negotiated where nothing may be sent unasked (RFC 7143 section 13.14).
    """
    unasked = (negotiated.get("InitialR2T"), negotiated.get("ImmediateData"))
    return frozenset({"FirstBurstLength"} if unasked == ("Yes", "No") else ())


def planned_session(
    path: str,
    noop_out_interval_s: int | None = None,
    noop_out_timeout_s: int | None = None,
    recovery_tmo_s: int | None = None,
    *,
    portal: str = "",
    through: str = "",
    negotiated: Mapping[str, str] | None = None,
    target: str = "",
) -> PlannedSession:
    """The plan of a session; a timeout of None is left to the distribution."""
    demanded = {
        NOOP_OUT_INTERVAL: noop_out_interval_s,
        NOOP_OUT_TIMEOUT: noop_out_timeout_s,
        RECOVERY: recovery_tmo_s,
    }
    return PlannedSession(
        path,
        {name: seconds for name, seconds in demanded.items() if seconds is not None},
        portal,
        through,
        negotiated or {},
        target,
    )
