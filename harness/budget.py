"""How long a stall may last by the settings in force, term by term, and where each was read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

NO_LIMIT = "no limit"


class Effect(StrEnum):
    """What the initiator notices of a path that is broken; its timeouts depend on that.

    `SILENT`: nothing is sent back, neither a reset nor an end of file. `UNREACHABLE`: nor does
    anybody answer for the portal's address, so that an attempt to connect may fail early.
    `REFUSED`: each packet is answered with a reset, so that all ends at once. `INTERRUPTED`: now it
    works and now it does not, so that the connection is lost and made anew. `DEGRADED`: packets are
    late, lost or damaged, and what they carry arrives in the end. `HELD`: some or all of what is
    sent is answered only once the fault is over. `NOT_READY`: the session lives, and each command
    is answered at once: the unit cannot be reached here (sense key NOT READY). `REGROUPED`: the
    target says that it serves the path better or worse than before, and serves it all the same.
    `DETACHED`: its own kernel refuses at once what is sent there. `RECONNECTED`: each session is
    ended and made anew, one after the other, when the fault is healed; until then there is nothing.
    `UNNOTICED`: sessions and paths stay as they are.
    """

    SILENT = "silent"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"
    DEGRADED = "degraded"
    HELD = "held"
    NOT_READY = "not-ready"
    REGROUPED = "regrouped"
    DETACHED = "detached"
    RECONNECTED = "reconnected"
    UNNOTICED = "unnoticed"

    @property
    def goes_on(self) -> bool:
        """Whether the path may carry I/O while it is broken."""
        return self in _GOING_ON

    @property
    def is_felt_at_healing(self) -> bool:
        """Whether nothing may happen to the path until the fault is healed."""
        return self is Effect.RECONNECTED


_GOING_ON = {
    Effect.INTERRUPTED,
    Effect.DEGRADED,
    Effect.REGROUPED,
    Effect.RECONNECTED,
    Effect.UNNOTICED,
}


class Layer(StrEnum):
    """What takes the time while I/O stands still or a path comes back, in that order."""

    BEFORE_FAULT = "standstill before the fault"
    DETECTION = "detection"
    SESSION_RECOVERY = "session recovery"
    PATH_FAILURE = "path failure"
    NO_PATH = "no path left"
    HELD = "held by the fault"
    LOGIN = "session login"
    REINSTATEMENT = "reinstatement"
    RESUBMISSION = "resubmission"
    FIRST_IO = "first I/O on the path"


@dataclass(frozen=True)
class BudgetTerm:
    """One summand of a budget, where its value was read, and why it counts.

    `layers` are those that may take that time, together. `seconds` is infinite where the setting
    is off, so that nothing limits that time; then `why` says what follows, and `cure` what to do.
    """

    name: str
    seconds: float
    source: str
    why: str = ""
    layers: tuple[Layer, ...] = ()
    cure: str = ""

    @property
    def shown(self) -> str:
        """Its seconds, or "off"."""
        return shown_setting(self.seconds)


@dataclass(frozen=True)
class Budget:
    """The longest stall that the effective settings allow."""

    terms: tuple[BudgetTerm, ...]

    @property
    def seconds(self) -> float:
        """Infinite if a term has no limit."""
        return sum(term.seconds for term in self.terms)

    @property
    def unlimited(self) -> tuple[BudgetTerm, ...]:
        """The terms without a limit: with any of them no stall is too long."""
        return tuple(term for term in self.terms if not isfinite(term.seconds))

    def __str__(self) -> str:
        parts = " + ".join(f"{term.name} {term.shown}" for term in self.terms)
        limit = f"{self.seconds:.2f} s" if isfinite(self.seconds) else NO_LIMIT
        return f"{limit} ({parts})"


def shown_setting(seconds: float) -> str:
    """A setting in seconds, for people: one that is off limits nothing."""
    return f"{seconds:g}" if isfinite(seconds) else "off"


def shown_limit(seconds: float) -> str:
    """A limit in seconds, for people."""
    return f"{seconds:g}" if isfinite(seconds) else NO_LIMIT


@dataclass(frozen=True)
class Setting:
    """A time in force, in seconds, what it is called, and where it was read."""

    name: str
    seconds: float
    source: str
