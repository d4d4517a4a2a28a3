"""The budget of a loss that the initiator can learn of only by silence."""

from __future__ import annotations

from math import isfinite
from typing import ClassVar

from harness.budget import BudgetTerm, Layer, Reconnecting
from harness.faults.base import Fault, Means
from harness.measurements import SessionSettings
from harness.topology import Role

# What follows from a setting that is off, and what to do about it.
_NO_NOP_OUT = (
    "no NOP-Out is sent, so a connection that falls silent is not found dead",
    "set noop_out_interval and noop_out_timeout in the node record, then log out and in",
)
_NEVER_GIVES_UP = (
    "a session that is lost keeps its I/O until it is back, however long that takes",
    "set fast_io_fail_tmo in multipath.conf to 1 or more, then `multipathd reconfigure`",
)


def _term(
    name: str, seconds: float, source: str, why: str, layer: Layer, *, off: tuple[str, str]
) -> BudgetTerm:
    """One term, or what `off` says of it if there is no limit."""
    if isfinite(seconds):
        return BudgetTerm(name, seconds, source, why, (layer,))
    return BudgetTerm(name, seconds, source, off[0], (layer,), off[1])


class SilentLoss(Fault):
    """Nothing is sent back, neither a reset nor an end of file.

    A carrier that is lost is no exception: TCP keeps the connection.
    """

    def detection_terms(self, settings: SessionSettings) -> tuple[BudgetTerm, ...]:
        """The next NOP-Out has to be due, its answer overdue, and recovery given up."""
        interval_s, timeout_s, recovery_s = settings.limits
        return (
            _term(
                "noop_out_interval",
                interval_s,
                "sysfs recv_tmo",
                "a NOP-Out is sent only after that long without a word from the target",
                Layer.DETECTION,
                off=_NO_NOP_OUT,
            ),
            _term(
                "noop_out_timeout",
                timeout_s,
                "sysfs ping_tmo",
                "the NOP-Out may be answered for that long",
                Layer.DETECTION,
                off=_NO_NOP_OUT,
            ),
            _term(
                "recovery_tmo",
                recovery_s,
                "sysfs recovery_tmo",
                "the session may log in again for that long before its I/O is failed",
                Layer.SESSION_RECOVERY,
                off=_NEVER_GIVES_UP,
            ),
        )

    def recovery_terms(self, reconnecting: Reconnecting) -> tuple[BudgetTerm, ...]:
        """The session has to log in again, and multipathd to see it.

        The device mapper queues I/O meanwhile (queue_if_no_path). A map that does not queue has
        no longer stall but I/O errors.
        """
        login_timeout, polling = reconnecting.login_timeout, reconnecting.polling
        return (
            BudgetTerm(
                login_timeout.name,
                login_timeout.seconds,
                login_timeout.source,
                "an attempt to log in that began during the outage may have to run out",
                (Layer.LOGIN,),
            ),
            BudgetTerm(
                polling.name,
                polling.seconds,
                polling.source,
                "multipathd looks at a failed path that often",
                (Layer.REINSTATEMENT,),
            ),
            BudgetTerm(
                "checker tick",
                1,
                "multipathd's check_path()",
                "an answer that the path checker did not have at once is fetched a second later",
                (Layer.REINSTATEMENT,),
            ),
        )


class LostAtOneEnd(SilentLoss):
    """What is lost at the end of one role, by the means of that end."""

    role: ClassVar[Role]
    means: ClassVar[Means]

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({self.means})
