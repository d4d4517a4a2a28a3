"""What is seen beside the I/O: settings, path listings, the machines, and what their host gave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from harness.concurrency import beside, side_by_side, within
from harness.errors import HarnessError, HypervisorError, MachineError, TimedOut, defects
from harness.measurements import PlannedSession, ProcessorTime, SessionSettings
from harness.observe import Observation, StealWatch, watching_steal
from harness.steps import Spent, attach, step
from harness.testbed.protocols import MeasuredTestbed
from harness.topology import Role
from harness.transport import Allowances, Attachment

_ANSWER_S = 4.0  # a target that does not answer by then is taken for dead, once I/O was cut short
_LISTING_S = 15.0
_CLOCK_LOOKS_S = 1.0  # from one to the next, and the longest that one may take
SETTINGS_S = 15.0


@dataclass
class SessionsSeen:
    """The sessions of one initiator: as they were planned, and their settings before and after.

    `allowances` say how long a path may take to go and to return.
    """

    settings: tuple[SessionSettings, ...]
    planned: tuple[PlannedSession, ...]
    allowances: Allowances
    settings_after: tuple[SessionSettings, ...] | None = None


class Witness:
    """Looks at a testbed while I/O runs there. What it saw is in its attributes.

    What is in force is noted when the I/O begins: later a fault may keep daemons from answering.
    """

    def __init__(self, testbed: MeasuredTestbed) -> None:
        self._testbed = testbed
        self._steal: StealWatch | None = None
        self.seen: dict[str, SessionsSeen] = {}  # by the initiator's name
        self.path_listings: dict[str, dict[str, str]] = {}  # map -> what and when -> text
        self.target_is_dead = False

    @property
    def machines(self) -> tuple[str, ...]:
        """Those that were meant to be watched."""
        return tuple(self._testbed.machine(name).name for name in self._testbed.machines)

    @property
    def existing(self) -> tuple[str, ...]:
        """Those of them that the run did not make."""
        return tuple(name for name in self.machines if name not in self._testbed.domains)

    @property
    def processors(self) -> ProcessorTime | None:
        """What the host gave to the guests; None where they run elsewhere."""
        return self._steal.seen if self._steal else None

    def begin(self) -> None:
        """Note settings and paths as they are, and mark the beginning in every kernel log."""
        testbed = self._testbed
        with step("Start I/O", Spent.MEASURING):
            seen = side_by_side(
                *((lambda n=name: self._sessions(n)) for name in testbed.initiators)
            )
            self.seen = dict(zip(testbed.initiators, seen, strict=True))
            side_by_side(
                *(
                    lambda n=name: testbed.observer(n).begin("pathproof: test begins")
                    for name in testbed.machines
                )
            )
            self.list_paths("before")

    def _sessions(self, initiator: str) -> SessionsSeen:
        testbed = self._testbed
        settings = testbed.session_settings(initiator)
        planned = testbed.planned_sessions(initiator)
        return SessionsSeen(settings, planned, testbed.initiators[initiator].allowances())

    def look_again(self, within_s: float) -> None:
        """Note settings as they are once I/O is over: sessions that came back logged in anew.

        If that fails, or takes too long, the reason is attached, and the rest can be judged.
        """
        side_by_side(*((lambda n=name: self._look_again(n, within_s)) for name in self.seen))

    def _look_again(self, initiator: str, within_s: float) -> None:
        def look() -> tuple[SessionSettings, ...]:
            return self._testbed.session_settings(initiator)

        try:
            after = within(within_s, look, what="the sessions' settings")
            self.seen[initiator].settings_after = after
        except HarnessError as error:
            if defects(error):
                raise
            attach("sessions not looked at", str(error))

    def list_paths(self, when: str, within_s: float = _LISTING_S) -> None:
        """Keep what shows the paths of every map, or why it is not to be had."""

        def listing(attachment: Attachment) -> str:
            try:
                return within(within_s, attachment.describe_paths, what=attachment.listing)
            except TimedOut as error:
                return error.message

        maps = self._testbed.maps
        listings = side_by_side(*(lambda a=one.attachment: listing(a) for one in maps))
        for one, text in zip(maps, listings, strict=True):
            title = f"{one.attachment.listing} {when}"
            self.path_listings.setdefault(one.planned.name, {})[title] = text

    @contextmanager
    def watching_host(self) -> Iterator[None]:
        """For the length of the block watch what the host gives to the guests, and their clocks."""
        domains = self._testbed.domains
        with (
            watching_steal(lambda: {m: domain.pid for m, domain in domains.items()}) as steal,
            beside(self._watch_clocks, name="clocks"),
        ):
            self._steal = steal
            yield

    def _watch_clocks(self, over: threading.Event) -> None:
        """Look at every machine's clock again and again; not at one that does not answer."""
        observers = [self._testbed.observer(name) for name in self._testbed.machines]
        while not over.wait(_CLOCK_LOOKS_S):
            for observer in observers:
                with suppress(MachineError, TimedOut):
                    observer.look_at_clock(_CLOCK_LOOKS_S)

    def look_at_the_target(self) -> str:
        """Why nothing can be said of the target, or nothing: one that dies breaks its promise.

        I/O is judged without its log then. Raises HypervisorError if it is the hypervisor that
        does not run it: that is the lab.
        """
        testbed = self._testbed
        if Role.TARGET not in testbed.machines or testbed.observer(Role.TARGET).answers(_ANSWER_S):
            return ""
        testbed.machine(Role.TARGET).close()  # else each command would wait for an answer
        if why := testbed.domain(Role.TARGET).standstill:
            raise HypervisorError(f"the target does not answer: {why}")
        self.target_is_dead = True
        return "the target does not answer, and what it saw is not known"

    def observations(self) -> dict[str, Observation]:
        """What was seen of each machine that answers."""
        dead = (Role.TARGET,) if self.target_is_dead else ()
        names = tuple(name for name in self._testbed.machines if name not in dead)
        seen = side_by_side(*(self._testbed.observer(name).collect for name in names))
        return dict(zip(names, seen, strict=True))
