"""The budget of a loss that the initiator can learn of only by silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.faults.base import Fault, Means, Reconnecting
from harness.measurements import BudgetTerm, Layer, SessionSettings
from harness.topology import Role


class SilentLoss(Fault):
    """Nothing is sent back, neither a reset nor an end of file.

    A carrier that is lost is no exception: TCP keeps the connection.
    """

    def detection_terms(self, settings: SessionSettings) -> tuple[BudgetTerm, ...]:
        """The next NOP-Out has to be due, its answer overdue, and recovery given up."""
        return (
            BudgetTerm(
                "noop_out_interval",
                settings.noop_out_interval_s,
                "sysfs recv_tmo",
                "a NOP-Out is sent only after that long without a word from the target",
                (Layer.DETECTION,),
            ),
            BudgetTerm(
                "noop_out_timeout",
                settings.noop_out_timeout_s,
                "sysfs ping_tmo",
                "the NOP-Out may be answered for that long",
                (Layer.DETECTION,),
            ),
            BudgetTerm(
                "recovery_tmo",
                settings.recovery_tmo_s,
                "sysfs recovery_tmo",
                "the session may log in again for that long before its I/O is failed",
                (Layer.SESSION_RECOVERY,),
            ),
        )

    def recovery_terms(self, reconnecting: Reconnecting) -> tuple[BudgetTerm, ...]:
        """The session has to log in again, and multipathd to see it.

        The device mapper queues I/O meanwhile (queue_if_no_path). A map that does not queue has
        no longer stall but I/O errors.
        """
        return (
            BudgetTerm(
                "login_timeout",
                reconnecting.login_timeout_s,
                reconnecting.source,
                "an attempt to log in that began during the outage may have to run out",
                (Layer.LOGIN,),
            ),
            BudgetTerm(
                "polling_interval",
                reconnecting.polling_interval_s,
                reconnecting.source,
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


@dataclass(frozen=True)
class FabricLost(SilentLoss):
    """One fabric is lost at one end, by the means of that end."""

    fabric: str
    role: ClassVar[Role]
    means: ClassVar[Means]

    @property
    def fabrics(self) -> tuple[str, ...]:
        return (self.fabric,)

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({self.means})
