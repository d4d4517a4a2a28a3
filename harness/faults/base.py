"""Injecting and healing, each confirmed, with the times of both."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from harness.budget import Budget, BudgetTerm, Effect, Layer
from harness.concurrency import side_by_side
from harness.errors import CutShort, FaultError, HarnessError, defects
from harness.machine import Machine
from harness.measurements import FaultRecord, SessionSettings
from harness.observe import Observer
from harness.steps import Spent, step, warn
from harness.topology import Topology
from harness.transport import Allowances

CONFIRM_TIMEOUT_S = 20.0


class Means(StrEnum):
    """What a fault acts with. A lab has it or not."""

    INITIATOR_CABLE = "the hypervisor's end of the initiator's cables"
    INITIATOR_GUEST = "commands on the initiator"
    TARGET_CABLE = "the hypervisor's end of the target's cables"
    TARGET_GUEST = "commands on the target"


class Lab(Protocol):
    """What faults need of a testbed."""

    @property
    def topology(self) -> Topology: ...

    def machine(self, name: str) -> Machine: ...

    def observer(self, machine: str) -> Observer: ...

    def nic(self, machine: str, link: str) -> str:
        """The name of a machine's NIC at its end of a link, inside the machine."""

    def set_link(self, machine: str, link: str, *, up: bool) -> None:
        """Plug or pull a NIC's cable at the hypervisor."""

    def wait_until_lost(self, paths: Sequence[str]) -> None:
        """Wait until no map of any LUN has these paths active. Raises CutShort."""


class Fault(ABC):
    """A frozen description of what is broken, and how to break and mend it."""

    @abstractmethod
    def hits(self, topology: Topology) -> tuple[str, ...]:
        """The names of the paths that carry nothing while this fault lasts."""

    def unplugs(self, topology: Topology) -> tuple[str, ...]:  # most kinds: none
        """The names of the links whose cables carry nothing while this fault lasts."""
        return ()

    @property
    @abstractmethod
    def where(self) -> str:
        """The name of what is broken: a link, a portal or several of them."""

    @property
    def parts(self) -> Sequence[Fault]:
        """The faults that it consists of: itself alone, or several."""
        return (self,)

    @property
    def needs(self) -> frozenset[Means]:
        """What it acts with."""
        return frozenset()

    @property
    def name(self) -> str:
        """The name of the fault in the report, such as "LinkDown(a)"."""
        return f"{type(self).__name__}({self.where})"

    @property
    @abstractmethod
    def description(self) -> str:
        """One sentence for the report: what is broken, and where."""

    @abstractmethod
    def inject(self, lab: Lab) -> None:
        """Break it; returns when the order was given."""

    @abstractmethod
    def confirm(self, lab: Lab) -> None:
        """Prove that it is broken. Raises FaultError or TimedOut."""

    @abstractmethod
    def heal(self, lab: Lab) -> None:
        """Undo what `inject` did, and only that. Idempotent."""

    @abstractmethod
    def confirm_healed(self, lab: Lab) -> None:
        """Prove that the fault no longer acts. Raises FaultError or TimedOut."""

    @property
    @abstractmethod
    def effects(self) -> frozenset[Effect]:
        """What the initiator notices of it: one effect, or those of its parts."""

    def detection_terms(
        self, session: SessionSettings, allowances: Allowances
    ) -> tuple[BudgetTerm, ...]:
        """How long the initiator may take to give a path up, term by term."""
        return _longest(allowances.detection_terms(session, one) for one in sorted(self.effects))

    def recovery_terms(self, allowances: Allowances) -> tuple[BudgetTerm, ...]:
        """How long I/O may wait after healing where no path was left, term by term."""
        return _longest(map(allowances.recovery_terms, sorted(self.effects)))


@dataclass(frozen=True)
class Together(Fault):
    """Several faults, injected at once and healed at once."""

    faults: Sequence[Fault]

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p for fault in self.faults for p in fault.hits(topology)))

    def unplugs(self, topology: Topology) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p for fault in self.faults for p in fault.unplugs(topology)))

    @property
    def where(self) -> str:
        return "+".join(dict.fromkeys(fault.where for fault in self.faults))

    @property
    def parts(self) -> Sequence[Fault]:
        return self.faults

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset().union(*(fault.needs for fault in self.faults))

    @property
    def name(self) -> str:
        return " + ".join(fault.name for fault in self.faults)

    @property
    def description(self) -> str:
        return "; ".join(fault.description for fault in self.faults)

    def inject(self, lab: Lab) -> None:
        for fault in self.faults:
            fault.inject(lab)

    def confirm(self, lab: Lab) -> None:
        self._all(lambda fault: fault.confirm(lab))

    def heal(self, lab: Lab) -> None:
        self._all(lambda fault: fault.heal(lab))

    def confirm_healed(self, lab: Lab) -> None:
        self._all(lambda fault: fault.confirm_healed(lab))

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset().union(*(fault.effects for fault in self.faults))

    def _all(self, action: Callable[[Fault], None]) -> None:
        side_by_side(*((lambda f=fault: action(f)) for fault in self.faults))


def _longest(each: Iterable[tuple[BudgetTerm, ...]]) -> tuple[BudgetTerm, ...]:
    return max(each, key=lambda terms: sum(term.seconds for term in terms))


@dataclass
class Injection:
    """A fault in force, or over: when what was done, in ns of the host's monotonic clock.

    `initiator` is the machine that it is told of: "" for all of them.
    """

    fault: Fault
    topology: Topology
    injected_ns: int = 0
    confirmed_ns: int = 0
    healed_ns: int = 0
    healing_confirmed_ns: int = 0
    healing_ns: int = 0
    on_change: list[Callable[[Injection], None]] = field(default_factory=list, repr=False)
    initiator: str = ""

    def on(self, initiator: str) -> Injection:
        """The same as it is to one initiator: others may have lost other paths, or none."""
        return replace(self, initiator=initiator)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that it hits."""
        own = set(self._own)
        return tuple(path for path in self.fault.hits(self.topology) if path in own)

    @property
    def io_stops(self) -> bool:
        """Whether no path is left."""
        return len(self.paths) == len(self._own)

    @property
    def _own(self) -> list[str]:
        whose = (self.initiator,) if self.initiator else self.topology.initiators
        return [path.name for path in self.topology.paths if path.machine in whose]

    def record(
        self, settings: Sequence[SessionSettings], slack_s: float, allowances: Allowances
    ) -> FaultRecord:
        """What the checks need to know. `settings`: of the LUN's sessions, before the fault.

        `allowances` are those of the initiator at that time. To an initiator of which it hits no
        path it may cost no more than the slack.
        """
        hit = [s for s in settings if s.path in self.paths]
        if self.paths and not hit:
            raise FaultError(f"{self.fault.name} hits no session; there are {settings}")
        back = self.fault.recovery_terms(allowances) if hit else ()
        terms: tuple[BudgetTerm, ...] = ()
        if hit and self.io_stops:
            outage = BudgetTerm(
                "outage",
                round((self.healing_confirmed_ns - self.injected_ns) / 1e9, 2),
                "until healing was confirmed",
                "no path is left, and no timeout can help",
                (Layer.DETECTION, Layer.SESSION_RECOVERY, Layer.PATH_FAILURE, Layer.NO_PATH),
            )
            # Where a dead connection is not noticed no login follows, but TCP's next attempt.
            unnoticed = _longest(self._unnoticed(one, allowances) for one in hit)
            terms = (outage, *back, *unnoticed)
        elif hit:
            terms = _longest(self._detection(one, allowances) for one in hit)
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
            links=self.fault.unplugs(self.topology),
            description=self.fault.description,
            injected_ns=self.injected_ns,
            confirmed_ns=self.confirmed_ns,
            healed_ns=self.healed_ns,
            healing_confirmed_ns=self.healing_confirmed_ns,
            budget=Budget((*terms, slack)),
            returning=Budget((*back, slack)),
            io_stops=self.io_stops,
            healing_ns=self.healing_ns,
        )

    def _detection(
        self, session: SessionSettings, allowances: Allowances
    ) -> tuple[BudgetTerm, ...]:
        """The terms of the parts that hit a session: the longest."""
        hitting = [p for p in self.fault.parts if session.path in p.hits(self.topology)]
        return _longest(part.detection_terms(session, allowances) for part in hitting)

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
    """Break for the length of the block; both ends are confirmed.

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
        yield injection
    finally:
        _heal(injection, lab, on_change)


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
