"""Ends a block of I/O that does not end by itself, and has evidence collected before.

In seconds from the block's deadline, or from the moment at which all was lost before that:

     0  every wait of the block ends with CutShort; evidence is collected, all of it at once
    10  what of it has not come by now is given up; faults of the test are healed
    20  fio that has not ended by itself gets errors: the map no longer queues
    30  the read-back is given up, and so is what evidence of it hanging has not come by now;
        what was measured is put together
    34  if that hangs, too, the last evidence is collected, unless there is some
    44  every VM of the testbed loses its power, so that whatever still waits for them ends
    59  libvirt has ended a QEMU that hears no SIGTERM, or has given up

That is with one LUN. With several each instant comes later by a common factor (`stretch`), since
there is more to end, to read back and to put together.

An initiator that does not answer for 30 s loses its power at once. Nothing but the machines is
ended by force: a test that waits for something else waits on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from harness.concurrency import beside
from harness.errors import (
    CutShort,
    HarnessError,
    MachineError,
    VerdictFailed,
    defects,
    summary,
    with_hidden,
)
from harness.steps import Spent, attach, step

EVIDENCE_S = 10.0
QUEUEING_S = 20.0
READ_BACK_S = 30.0
LAST_S = 34.0
DYING_S = 15.0  # virProcessKillPainfullyDelay(): SIGKILL after 10 s, 5 s more to see the end
SILENCE_S = 30.0

_LOOK_INTERVAL_S = 0.5


class Watchdog:
    """Watches one block of I/O, which may last `within_s` from now on.

    What follows then takes `stretch` times as long as with one LUN.
    `gather` collects evidence, by name. `silent` says which machine does not answer, as in "the
    initiator", or "" if all do, and may take some time for that. `power_off` ends all machines.
    """

    def __init__(
        self,
        within_s: float,
        *,
        gather: Callable[[], Mapping[str, str]],
        silent: Callable[[], str],
        power_off: Callable[[], object],
        stretch: float = 1.0,
    ) -> None:
        self._within_s = within_s
        self._stretch = stretch
        self._gather = gather
        self._silent = silent
        self._power_off = power_off
        self._ends_at = time.monotonic() + within_s
        self._gathering = threading.Lock()
        self._evidence: Mapping[str, str] | None = None
        self.powered_off = ""

    @property
    def expired(self) -> bool:
        """Whether the block should be over."""
        return time.monotonic() >= self._ends_at

    def left(self, until_s: float = 0.0, *, at_most_s: float = math.inf) -> float:
        """Seconds until `until_s`, stretched, after the deadline; never negative."""
        ends_at = self._ends_at + until_s * self._stretch
        return min(at_most_s, max(0.0, ends_at - time.monotonic()))

    def left_to_read(self) -> float:
        """Seconds until the read-back is given up: there has to be time for evidence of it."""
        evidence_s = EVIDENCE_S if self._evidence is None else 0.0
        return self.left(READ_BACK_S - evidence_s)

    def left_to_measure(self) -> float:
        """Seconds until what was measured has to be there."""
        return self.left(LAST_S)

    def expire(self) -> None:
        """All is lost: the deadline is now, if it was not before."""
        self._ends_at = min(self._ends_at, time.monotonic())

    def cut_short(self, why: str) -> CutShort:
        """The error that ends the block. Evidence is collected here, before faults are healed."""
        self.collect_evidence()
        if self.expired:
            why += f"; the {self._within_s:g} s that this I/O was given are over"
        return CutShort(why)

    def collect_evidence(self) -> None:
        """Collect evidence, once; it is attached when the block ends."""
        with self._gathering, step("Collect evidence of what hangs", Spent.MEASURING):
            if self._evidence is None:
                self._evidence = self._gather()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the block.

        Raises MachineError if the machines were powered off, whatever that led to in the lab or
        in the test. A verdict and a programming error stay what they are.
        """
        try:
            try:
                with beside(self._watch, name="watchdog"):
                    yield
            finally:
                self._attach_evidence()
        except Exception as error:
            if self.powered_off and _may_follow(error):
                raise MachineError(self.powered_off) from error
            raise
        if self.powered_off:
            raise MachineError(self.powered_off)

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(_LOOK_INTERVAL_S):
            if not self.left(LAST_S):
                self._end("the I/O did not end by any other means", over)
                return
            # Once the deadline has passed nothing is asked: an answer may take too long.
            if not self.expired and (machine := self._silent()):
                self._end(f"{machine} does not answer", over)
                return

    def _end(self, why: str, over: threading.Event) -> None:
        if over.is_set():
            return
        try:
            self.collect_evidence()
        finally:
            if not over.is_set():  # else it did end meanwhile
                self._power_off_since(why)

    def _power_off_since(self, why: str) -> None:
        self.powered_off = f"{why}; every VM of the testbed was powered off"
        try:
            self._power_off()
        except HarnessError as error:
            self.powered_off = f"{why}; powering off failed: {summary(error)}"
            if defects(error):
                raise

    def _attach_evidence(self) -> None:
        if self._evidence is not None:
            with step("Evidence of what hung", Spent.REPORTING):
                for name, text in self._evidence.items():
                    attach(name, text)


def _may_follow(error: Exception) -> bool:
    """Whether an error may come from a loss of power.

    A test may assert what can no longer be true, and a reader may meet the end of its stream.
    """
    if any(isinstance(one, VerdictFailed) for one in with_hidden(error)):
        return False
    return all(isinstance(one, AssertionError | EOFError) for one in defects(error))
