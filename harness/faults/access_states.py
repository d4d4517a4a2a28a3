"""Controllers that change their access states (ALUA): LIO tells the initiators, and they follow.

LIO's groups are implicit here: the target decides alone, and establishes a unit attention (2A/06)
for each initiator. The initiator's device handler then reads the states. Sources: SPC-4 section
5.15; core_alua_do_transition_tg_pt() in drivers/target/target_core_alua.c; alua_check_sense() and
alua_rtpg() in drivers/scsi/device_handler/scsi_dh_alua.c; scsi_io_completion_action().
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from harness.budget import BudgetTerm, Effect, Layer
from harness.deadline import Deadline, poll
from harness.faults.base import CONFIRM_TIMEOUT_S, SAMPLE_TIMEOUT_S, Lab, Means
from harness.faults.kind import Family, Kind, Possible
from harness.faults.undoing import UndoneByShell
from harness.measurements import MeansSample, SessionSettings
from harness.target.lio import AccessState, live
from harness.topology import Role, Topology
from harness.transport import Allowances

_TARGET = Role.TARGET.value
_TIMEOUT_S = 30.0
# A path without I/O is told with the next look of its checker: every 20 s, by stock settings.
_KNOWN_TIMEOUT_S = 2 * CONFIRM_TIMEOUT_S + 5
_UNTIL_GIVEN_UP = (Layer.DETECTION, Layer.SESSION_RECOVERY, Layer.PATH_FAILURE)
_SENT_AGAIN = BudgetTerm(
    "retry delay",
    1,
    "ALUA_TRANSITION_REPREP_DELAY in drivers/scsi/scsi_lib.c",
    "a command that meets a group in transition is sent again a second later",
    _UNTIL_GIVEN_UP,
)
_READ_AGAIN = BudgetTerm(
    "state read again",
    2,
    "ALUA_RTPG_RETRY_DELAY in scsi_dh_alua.c",
    "while a group is in transition the device handler reads its state that often",
    _UNTIL_GIVEN_UP,
)


@dataclass(frozen=True)
class AccessStates(UndoneByShell):
    """Controllers have other access states than planned, at every LUN, and the initiators know."""

    controller: str

    @property
    def where(self) -> str:
        return self.controller

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({Means.LIO})

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_controller(self.controller)

    @abstractmethod
    def states(self, topology: Topology) -> Mapping[str, AccessState]:
        """The state of each controller that has another one than planned."""

    def detection_terms(
        self,
        session: SessionSettings,  # it lives
        allowances: Allowances,
    ) -> tuple[BudgetTerm, ...]:
        """Each change is a transition, however short."""
        return (_SENT_AGAIN,)

    def inject(self, lab: Lab) -> None:
        script = live.set_access_states(lab.topology, self.states(lab.topology))
        lab.machine(_TARGET).sh(script, timeout_s=_TIMEOUT_S)

    def confirm(self, lab: Lab) -> None:
        """The target has these states; and the initiators, if they have a device handler."""
        self._wait_for(self.states(lab.topology), lab)

    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        """What both ends say. It proves by itself how paths are that go on."""
        differing, unseen = _look(self.states(lab.topology), lab)
        missing = differing or unseen
        return [MeansSample(self.name, missing=missing, proves=not missing)]

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        return {_TARGET: live.restore_access_states(lab.topology)}

    def confirm_healed(self, lab: Lab) -> None:
        planned = live.planned_states(lab.topology)
        self._wait_for({name: planned[name] for name in self.states(lab.topology)}, lab)

    def _wait_for(self, states: Mapping[str, AccessState], lab: Lab) -> None:
        differing = ""

        def same() -> bool:
            nonlocal differing
            differing, _ = _look(states, lab)
            return not differing

        poll(
            same,
            what=f"the access states of {self.name}",
            deadline=Deadline.after(_KNOWN_TIMEOUT_S),
            every_s=0.3,
            last_seen=lambda: differing,
        )


class _OfOneInUse(AccessStates):
    """A controller that initiators prefer has another state; others are left."""

    state: ClassVar[AccessState]

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each controller that is optimized where others are not.

        In reserve nothing would show what becomes of its paths.
        """
        return tuple(cls(name) for name in _preferred(topology))

    def states(self, topology: Topology) -> Mapping[str, AccessState]:
        return {self.controller: self.state}

    @property
    def description(self) -> str:
        return f"the access state of controller {self.controller} is {live.word_of(self.state)}"


@dataclass(frozen=True)
class NonOptimized(_OfOneInUse):
    """A controller that was preferred is no better than others, and serves all the same."""

    state: ClassVar[AccessState] = AccessState.NON_OPTIMIZED

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.REGROUPED})


@dataclass(frozen=True)
class Standby(_OfOneInUse):
    """A controller serves nothing, and says that it could: its paths are kept, and not used."""

    state: ClassVar[AccessState] = AccessState.STANDBY

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.NOT_READY})

    def loses(self, topology: Topology) -> tuple[str, ...]:
        """They fail with the first I/O, and are taken back as paths that serve no I/O."""
        return ()


@dataclass(frozen=True)
class Unavailable(_OfOneInUse):
    """A controller serves nothing."""

    state: ClassVar[AccessState] = AccessState.UNAVAILABLE

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each controller: a path in reserve fails, too, as it is looked at."""
        return tuple(map(cls, live.planned_states(topology)))

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.NOT_READY})


@dataclass(frozen=True)
class Transitioning(_OfOneInUse):
    """A controller is in transition between two states, and serves nothing until that is over.

    The initiator waits for it, up to 60 s, and may also turn to another controller.
    """

    state: ClassVar[AccessState] = AccessState.TRANSITIONING

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.HELD, Effect.NOT_READY})

    def loses(self, topology: Topology) -> tuple[str, ...]:
        """Whether they are given up is up to the initiator."""
        return ()

    def at_most_s(self, bears_s: float) -> float:  # the session lives
        """Half of what the device handler bears (ALUA_FAILOVER_TIMEOUT in scsi_dh_alua.c)."""
        return 30.0


@dataclass(frozen=True)
class Takeover(AccessStates):
    """A controller takes over from the preferred one, as when that is taken out of service.

    Both are in transition for a while; then the one is unavailable, and the other one optimized.
    When it is healed both are in transition once more, and then as they were (giveback).
    """

    transition_s: ClassVar[float] = 3.0

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each controller that is optimized where others are not."""
        return tuple(cls(name) for name in _preferred(topology))

    def states(self, topology: Topology) -> Mapping[str, AccessState]:
        return {
            self.controller: AccessState.UNAVAILABLE,
            self._other(topology): AccessState.OPTIMIZED,
        }

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.NOT_READY})

    def hits(self, topology: Topology) -> tuple[str, ...]:
        own = topology.over_controller(self.controller)
        return (*own, *topology.over_controller(self._other(topology)))

    def limps(self, topology: Topology) -> tuple[str, ...]:
        """Those to the other one serve nothing while it is in transition."""
        return topology.over_controller(self._other(topology))

    @property
    def description(self) -> str:
        return (
            f"another controller takes over from {self.controller}, which is unavailable then; "
            f"both are in transition for {self.transition_s:g} s before that, and before they are "
            "as they were"
        )

    def detection_terms(
        self, session: SessionSettings, allowances: Allowances
    ) -> tuple[BudgetTerm, ...]:
        """A path may also be given up while its group is in transition, and has to come back."""
        transition = BudgetTerm(
            "transition",
            self.transition_s,
            "trans_delay_msecs of LIO's groups",
            "no controller serves I/O before that is over",
            _UNTIL_GIVEN_UP,
        )
        again = super().detection_terms(session, allowances)
        return (transition, _READ_AGAIN, *again, *self.recovery_terms(allowances))

    def inject(self, lab: Lab) -> None:
        states = self.states(lab.topology)
        script = live.set_access_states(lab.topology, states, self._transition_ms)
        lab.machine(_TARGET).sh(script, timeout_s=_TIMEOUT_S)

    def heal(self, lab: Lab) -> None:
        """The giveback is a transition, too; from then on there is none."""
        script = live.restore_access_states(lab.topology, self._transition_ms)
        lab.machine(_TARGET).sh(script, timeout_s=_TIMEOUT_S)
        super().heal(lab)

    @property
    def _transition_ms(self) -> int:
        return round(self.transition_s * 1000)

    def _other(self, topology: Topology) -> str:
        """The first controller that is not optimized."""
        states = live.planned_states(topology)
        return next(name for name, state in states.items() if state is not AccessState.OPTIMIZED)


def _preferred(topology: Topology) -> list[str]:
    """The controllers that are optimized, if there are others."""
    states = live.planned_states(topology)
    return [name for name, state in states.items() if state is AccessState.OPTIMIZED]


def _look(wanted: Mapping[str, AccessState], lab: Lab) -> tuple[str, str]:
    """What has another state than that, as half a sentence; and what an initiator cannot know.

    Empty if there is nothing. Without a device handler an initiator's kernel knows of no state.
    """
    script = live.show_access_states(lab.topology, wanted)
    told = lab.machine(_TARGET).sh(script, timeout_s=SAMPLE_TIMEOUT_S).stdout
    for name, word in live.parse_access_states(told):
        if word != live.word_of(wanted[name]):
            return f"the access state of controller {name} is {word}", ""
    expected = {
        path: live.word_of(state)
        for name, state in wanted.items()
        for path in lab.topology.over_controller(name)
    }
    known = lab.access_states(expected)
    for path, seen in known:
        if not seen.unseen and seen.state != expected[path]:
            return f"the initiator takes path {path} ({seen.disk}) for {seen.state}", ""
    return "", next((seen.unseen for _, seen in known if seen.unseen), "")


def _kind(
    kind: type[_OfOneInUse | Takeover], breaks: str, shows: str, *, passing: bool = False
) -> Kind:
    family = Family.CONTROLLER
    return Kind(kind, "controller", family, breaks, shows, kind.everywhere, passing=passing)


# Not `Standby`, `Unavailable` and `Transitioning`: on machines their tests do not pass yet.
ACCESS_STATE_KINDS = (
    _kind(
        NonOptimized,
        "the preferred controller is no longer optimized (LIO, ALUA)",
        "a unit attention tells of it (2A/06); I/O may also use the others, and fails back later",
    ),
    _kind(
        Takeover,
        "a controller takes over from the preferred one, and gives back at healing; before each "
        f"both are in transition for {Takeover.transition_s:g} s",
        "no controller serves I/O for so long; then the other one does, and later the first again",
        passing=True,
    ),
)
