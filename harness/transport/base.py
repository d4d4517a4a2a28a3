"""What the rest of the harness needs of a transport, whatever it is made of."""

from __future__ import annotations

from typing import Protocol

from harness.budget import BudgetTerm, Effect
from harness.measurements import SessionSettings


class Allowances(Protocol):
    """How long the initiator may take by the settings in force, term by term."""

    def detection_terms(self, session: SessionSettings, effect: Effect) -> tuple[BudgetTerm, ...]:
        """Until the path of a session is given up, where a fault has that effect on it."""

    def recovery_terms(self, effect: Effect) -> tuple[BudgetTerm, ...]:
        """From healing until I/O goes over the path again."""
