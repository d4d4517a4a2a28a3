"""A fault while it lasts: injected, in force and healed, with the times of all of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from harness.budget import Budget, BudgetTerm, Effect, Layer
from harness.concurrency import beside
from harness.errors import CutShort, FaultError, HarnessError, defects
from harness.faults.base import Fault, Lab, longest
from harness.faults.sampling import sample_all
from harness.measurements import FaultRecord, MeansSample, SessionSettings
from harness.steps import Spent, step, warn
from harness.topology import Topology
from harness.transport import Allowances

SAMPLE_EVERY_S = 1.0


@dataclass
class Injection:
    """A fault in force, or over: when what was done, in ns of the host's monotonic clock.

    `initiator` is the machine that it is told of: "" for all of them. `means_samples` are taken
    while it lasts.
    """

    fault: Fault
    topology: Topology
    injected_ns: int = 0
    confirmed_ns: int = 0
    healed_ns: int = 0
    healing_confirmed_ns: int = 0
    healing_ns: int = 0
    initiator: str = ""
    means_samples: list[MeansSample] = field(default_factory=list, repr=False)

    def on(self, initiator: str) -> Injection:
        """The same as it is to one initiator: others may have lost other paths, or none."""
        return replace(self, initiator=initiator)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that it hits."""
        own = set(self._own)
        return tuple(path for path in self.fault.hits(self.topology) if path in own)

    @property
    def limping(self) -> tuple[str, ...]:
        """Those of them that may carry I/O all the same."""
        own = set(self._own)
        return tuple(path for path in self.fault.limps(self.topology) if path in own)

    @property
    def io_stops(self) -> bool:
        """Whether I/O may wait until it is over: no path is left, or I/O is held."""
        return self._none_left or self._held

    @property
    def _none_left(self) -> bool:
        return len(self.paths) - len(self.limping) == len(self._own)

    @property
    def _held(self) -> bool:
        return any(Effect.HELD in part.effects for part in self._parts_that_hit(self.paths))

    @property
    def _own(self) -> list[str]:
        whose = (self.initiator,) if self.initiator else self.topology.initiators
        return [path.name for path in self.topology.paths if path.machine in whose]

    def record(
        self, settings: Sequence[SessionSettings], slack_s: float, allowances: Allowances
    ) -> FaultRecord:
        """What the checks need to know. `settings`: of the LUN's sessions, before the fault.

        `allowances` are those of the initiator at that time. To an initiator of which it hits no
        path it may cost no more than the slack; of what hits others alone it notices nothing.
        """
        hit = [s for s in settings if s.path in self.paths]
        if self.paths and not hit:
            raise FaultError(f"{self.fault.name} hits no session; there are {settings}")
        felt = self._parts_that_hit(self.paths)
        back = longest(part.recovery_terms(allowances) for part in felt) if hit else ()
        terms: tuple[BudgetTerm, ...] = ()
        if hit and self.io_stops:
            # Where a dead connection is not noticed no login follows, but TCP's next attempt.
            unnoticed = longest(self._unnoticed(one, allowances) for one in hit)
            terms = (self._outage, *back, *unnoticed)
        elif hit:
            terms = longest(self._detection(one, allowances) for one in hit)
        slack = BudgetTerm(
            "slack",
            slack_s,
            "budget.slack_s",
            "timers fire up to a tick late, and what is left has no timer",
            (Layer.RESUBMISSION,) if self.io_stops else (Layer.PATH_FAILURE, Layer.RESUBMISSION),
        )
        return FaultRecord(
            name=self.fault.name,
            paths=self.paths,
            links=self.fault.disturbs(self.topology),
            description=self.fault.description,
            injected_ns=self.injected_ns,
            confirmed_ns=self.confirmed_ns,
            healed_ns=self.healed_ns,
            healing_confirmed_ns=self.healing_confirmed_ns,
            budget=Budget((*terms, slack)),
            returning=Budget((*back, slack)),
            io_stops=self.io_stops,
            healing_ns=self.healing_ns,
            effects=tuple(sorted({effect for part in felt for effect in part.effects})),
            limping=self.limping,
            felt_at_healing=bool(felt) and all(part.is_felt_at_healing for part in felt),
            means_samples=tuple(self.means_samples),
            means_hidden=self.fault.means_hidden,
            stopped=self.fault.stops(self.topology),
            disks_held=self.fault.holds_disks,
        )

    @property
    def _outage(self) -> BudgetTerm:
        """The term of the time for which I/O may wait for healing."""
        name, why, last = (
            ("held", "what is sent may be answered only once the fault is over", Layer.HELD)
            if self._held
            else ("outage", "no path is left, and no timeout can help", Layer.NO_PATH)
        )
        return BudgetTerm(
            name,
            round((self.healing_confirmed_ns - self.injected_ns) / 1e9, 2),
            "until healing was confirmed",
            why,
            (Layer.DETECTION, Layer.SESSION_RECOVERY, Layer.PATH_FAILURE, last),
        )

    def _detection(
        self, session: SessionSettings, allowances: Allowances
    ) -> tuple[BudgetTerm, ...]:
        """The terms of the parts that hit a session: the longest."""
        hitting = self._parts_that_hit([session.path])
        return longest(part.detection_terms(session, allowances) for part in hitting)

    def _parts_that_hit(self, paths: Collection[str]) -> list[Fault]:
        """The parts of the fault that hit any of these paths."""
        parts = self.fault.parts
        return [part for part in parts if not set(paths).isdisjoint(part.hits(self.topology))]

    def _unnoticed(
        self, session: SessionSettings, allowances: Allowances
    ) -> tuple[BudgetTerm, ...]:
        """The terms of a session by which the loss of its connection may never be noticed."""
        terms = Budget(self._detection(session, allowances)).unlimited
        return tuple(term for term in terms if Layer.DETECTION in term.layers)


@contextmanager
def injected(
    fault: Fault, lab: Lab, on_change: Callable[[Injection], None] = lambda _: None
) -> Iterator[Injection]:
    """Break for the length of the block, and sample its means meanwhile; both ends are confirmed.

    `on_change` is called when the fault was injected and when it was healed. Healing is tried
    even if confirming failed or the block raised. If injecting is cut short, what was broken until
    then counts as the fault: I/O is judged as it is.
    """
    injection = Injection(fault, lab.topology)
    with step(f"Inject {fault.name}", Spent.WAITING):
        injection.injected_ns = time.monotonic_ns()
        try:
            fault.inject(lab)
            on_change(injection)
            fault.confirm(lab)
            injection.confirmed_ns = time.monotonic_ns()
        except CutShort:
            on_change(injection)
            injection.confirmed_ns = time.monotonic_ns()
            _heal(injection, lab, on_change)
            raise
        except BaseException as failure:
            _heal_after_failure(fault, lab, failure)
            raise
    try:
        with (
            beside(lambda over: fault.go_on(lab, over), name=fault.name),
            beside(
                lambda over: _keep_sampling(injection, lab, over), name=f"means of {fault.name}"
            ),
        ):
            yield injection
    finally:
        _heal(injection, lab, on_change)


def _keep_sampling(injection: Injection, lab: Lab, over: threading.Event) -> None:
    """Sample the means of each part of the fault about once a second."""
    while not over.wait(SAMPLE_EVERY_S):
        injection.means_samples += sample_all(lab, injection.fault.parts)


def _heal(injection: Injection, lab: Lab, on_change: Callable[[Injection], None]) -> None:
    fault = injection.fault
    with step(f"Heal {fault.name}", Spent.WAITING):
        injection.healing_ns = time.monotonic_ns()
        fault.heal(lab)
        injection.healed_ns = time.monotonic_ns()
        on_change(injection)
        fault.confirm_healed(lab)
        injection.healing_confirmed_ns = time.monotonic_ns()


def _heal_after_failure(fault: Fault, lab: Lab, failure: BaseException) -> None:
    """Undo what may have been done. An interrupt and a programming error stay what they are."""
    try:
        fault.heal(lab)
    except HarnessError as error:
        if defects(error, beyond=failure):
            raise
        text = f"{fault.name} could not be confirmed, nor healed: {error}"
        if not isinstance(failure, HarnessError) or defects(failure):
            warn(text)
            return
        raise FaultError(text) from error
