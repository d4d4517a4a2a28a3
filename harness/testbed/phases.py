"""The phases of a stretch of I/O, told by what happens to it; pure."""

from __future__ import annotations

from dataclasses import replace

from harness.faults import Injection
from harness.timeline import Phase


class Phases:
    """Each phase ends where the next one begins. Times are the host's, in ns."""

    def __init__(self) -> None:
        self._since_ns = 0
        self._over: list[tuple[Phase, Injection | None]] = []
        self.injections: list[Injection] = []

    def over(self, initiator: str) -> tuple[Phase, ...]:
        """Those that have ended, in their order, as they are to an initiator.

        While a fault lasts I/O is expected of it, unless the fault takes all its paths.
        """
        return tuple(
            phase
            if lasting is None
            else replace(phase, io_expected=not lasting.on(initiator).io_stops)
            for phase, lasting in self._over
        )

    def start(self, at_ns: int) -> None:
        """What follows is a phase of its own; what was since the last one ended is not settled."""
        self._end("paths return" if self.injections else "start", at_ns, settled=False)

    def note(self, injection: Injection) -> None:
        """A fault was injected or healed: a phase ends here."""
        if injection.healed_ns == 0:
            self.injections.append(injection)
            first = len(self.injections) == 1
            self._end("before" if first else "between", injection.injected_ns)
        else:
            self._end(f"during {injection.fault.name}", injection.healed_ns, injection)

    def end(self, at_ns: int) -> None:
        """I/O is over."""
        self._end("after" if self.injections else "whole", at_ns)

    def _end(
        self, name: str, at_ns: int, lasting: Injection | None = None, *, settled: bool = True
    ) -> None:
        if self._since_ns:
            self._over.append((Phase(name, self._since_ns, at_ns, settled, settled), lasting))
        self._since_ns = at_ns
