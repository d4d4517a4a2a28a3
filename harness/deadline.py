"""One way to wait: poll until something is true or a deadline passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from harness.errors import TimedOut

T = TypeVar("T")


@dataclass(frozen=True)
class Deadline:
    """A point on the host's monotonic clock, in seconds, that passes on to whatever is called."""

    expires_at: float
    allowed_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds, seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.expires_at - time.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining_s == 0.0


def poll(
    probe: Callable[[], T | None],
    *,
    what: str,
    deadline: Deadline,
    every_s: float = 0.1,
    last_seen: Callable[[], str] = lambda: "",
    hint: str = "",
) -> T:
    """Call `probe` until it returns something other than None or False, and return that.

    The probe runs at least once, and once more after the deadline, so that a slow machine
    is never judged by a look that was taken too early. Raises `TimedOut`, which says what
    was waited for and, from `last_seen`, what was there instead.
    """
    while True:
        final = deadline.expired
        result = probe()
        if result is not None and result is not False:
            return result
        if final:
            seen = last_seen()
            raise TimedOut(
                f"{what}: not within {deadline.allowed_s:.0f} s"
                + (f"; last seen: {seen}" if seen else ""),
                hint=hint,
            )
        # The one pause between two looks; it never outlasts the deadline.
        time.sleep(min(every_s, deadline.remaining_s))
