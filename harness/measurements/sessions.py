"""iSCSI sessions: as they were planned, and as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

LOGGED_IN = "LOGGED_IN"  # state of a session, drivers/scsi/scsi_transport_iscsi.c


@dataclass(frozen=True)
class SessionSettings:
    """The effective timeouts of one session, from /sys/class/iscsi_session and _connection.

    Without NOP-Outs their interval and timeout are 0; `recovery_tmo_s` is negative if the session
    never gives up. `through` is the link that the initiator's end of the connection is on: "" if on
    none. `connected_to` is the portal at its other end, "" if there
    is none, and `negotiated` what the login came to, by the names of RFC 7143, as far as the driver
    tells. Of what is in force all that says something only if `state` is LOGGED_IN.
    """

    path: str
    noop_out_interval_s: int
    noop_out_timeout_s: int
    recovery_tmo_s: int
    through: str = ""
    connected_to: str = ""
    negotiated: Mapping[str, str] = field(default_factory=dict)
    state: str = LOGGED_IN

    @property
    def limits(self) -> tuple[float, float, float]:
        """Interval and timeout of NOP-Outs, and recovery; infinite where there is no limit.

        The kernel sends no NOP-Out if the interval is 0, and replaces a timeout of 0
        (iscsi_check_transport_timeouts() and iscsi_conn_start() in drivers/scsi/libiscsi.c). A
        `recovery_tmo` of 0 is a limit: I/O fails at once (scsi_transport_iscsi.c).
        """
        return (
            self.noop_out_interval_s or inf,
            self.noop_out_timeout_s or inf,
            self.recovery_tmo_s if self.recovery_tmo_s >= 0 else inf,
        )


@dataclass(frozen=True)
class PlannedSession:
    """The plan of a session; a timeout of None was left to the distribution.

    Its connection must be from the link `through` to `portal`; `negotiated` holds the values that
    were asked for.
    """

    path: str
    noop_out_interval_s: int | None = None
    noop_out_timeout_s: int | None = None
    recovery_tmo_s: int | None = None
    portal: str = ""
    through: str = ""
    negotiated: Mapping[str, str] = field(default_factory=dict)
