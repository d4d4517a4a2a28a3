"""Timeouts of sessions and paths, as sets that have names."""

from __future__ import annotations

from pydantic import Field

from harness.config.base import Model

# What open-iscsi and multipath-tools have where a profile leaves a timeout alone.
_USUAL_S = 5


class Profile(Model):
    """Timeouts of sessions and paths; None leaves the distribution's value alone.

    Seconds throughout. Sources: iscsid.conf in open-iscsi, multipath.conf(5).
    """

    noop_out_interval_s: int | None = Field(None, ge=1, le=600)
    noop_out_timeout_s: int | None = Field(None, ge=1, le=600)
    fast_io_fail_s: int | None = Field(
        None, ge=1, le=3600, description="multipathd writes it over recovery_tmo of each session"
    )
    polling_interval_s: int | None = Field(None, ge=1, le=60)
    login_timeout_s: int | None = Field(None, ge=1, le=600)

    @property
    def gives_up_s(self) -> int:
        """Roughly how long I/O waits until a path that fell silent is given up."""
        timeouts = (self.noop_out_interval_s, self.noop_out_timeout_s, self.fast_io_fail_s)
        return sum(one or _USUAL_S for one in timeouts)


STOCK = Profile()
FAST = Profile(
    noop_out_interval_s=1,
    noop_out_timeout_s=1,
    fast_io_fail_s=1,
    polling_interval_s=1,
    login_timeout_s=3,
)
