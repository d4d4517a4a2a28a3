"""All kinds of faults, and what a topology can have of them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.budget import Effect
from harness.faults.access_states import ACCESS_STATE_KINDS
from harness.faults.addresses import ADDRESS_KINDS
from harness.faults.base import Fault, Means
from harness.faults.callout import CALLOUT_KINDS
from harness.faults.cut_connections import CUT_CONNECTIONS_KINDS
from harness.faults.daemons import DAEMON_KINDS
from harness.faults.disks import DISK_KINDS
from harness.faults.held import HELD_KINDS
from harness.faults.impaired import IMPAIRED_KINDS
from harness.faults.kind import Family, Kind, Possible
from harness.faults.large_frames import LARGE_FRAMES_KINDS
from harness.faults.link import LINK_KINDS
from harness.faults.losses import SEVERAL_KINDS
from harness.faults.lun_offline import LUN_OFFLINE_KINDS
from harness.faults.portal_settings import PORTAL_SETTINGS_KINDS
from harness.faults.refusal import REFUSAL_KINDS
from harness.faults.repeated import REPEATED_KINDS
from harness.faults.silent_drop import DROP_KINDS
from harness.faults.target_vm import TARGET_VM_KINDS
from harness.topology import Topology

CATALOGUE: tuple[Kind, ...] = (
    *LINK_KINDS,
    *ADDRESS_KINDS,
    *LARGE_FRAMES_KINDS,
    *DROP_KINDS,
    *REFUSAL_KINDS,
    *IMPAIRED_KINDS,
    *HELD_KINDS,
    *CUT_CONNECTIONS_KINDS,
    *PORTAL_SETTINGS_KINDS,
    *TARGET_VM_KINDS,
    *LUN_OFFLINE_KINDS,
    *ACCESS_STATE_KINDS,
    *DAEMON_KINDS,
    *REPEATED_KINDS,
    *DISK_KINDS,
    *SEVERAL_KINDS,
    *CALLOUT_KINDS,
)

_EFFECT_WORDS: Mapping[Effect, tuple[str, ...]] = {
    Effect.SILENT: ("silent",),
    Effect.UNREACHABLE: ("silent", "unreachable"),
    Effect.REFUSED: ("refused",),
    Effect.INTERRUPTED: ("interrupted",),
    Effect.DEGRADED: ("degraded",),
    Effect.HELD: ("held",),
    Effect.NOT_READY: ("not-ready",),
    Effect.REGROUPED: ("regrouped",),
    Effect.DETACHED: ("detached",),
    Effect.RECONNECTED: ("reconnected",),
    Effect.UNNOTICED: ("unnoticed",),
}
_MEANS_WORDS: Mapping[Means, tuple[str, ...]] = {
    Means.INITIATOR_CABLE: ("initiator", "hypervisor"),
    Means.INITIATOR_GUEST: ("initiator", "inside"),
    Means.INITIATOR_NIC: ("initiator", "inside"),
    Means.INITIATOR_DAEMONS: ("initiator", "inside"),
    Means.TARGET_CABLE: ("target", "hypervisor"),
    Means.TARGET_GUEST: ("target", "inside"),
    Means.TARGET_VM: ("target", "hypervisor"),
    Means.LIO: ("target", "inside"),
    Means.OWN_COMMANDS: (),  # wherever they act
}
_USUAL, _DAMAGING = "usual", "damaging"
# Words by which a fault may be selected, wherever it is.
WORDS = frozenset(
    {
        *(kind.name for kind in CATALOGUE),
        *Family,
        *(_USUAL, _DAMAGING),
        *(word for words in (*_EFFECT_WORDS.values(), *_MEANS_WORDS.values()) for word in words),
    }
)


@dataclass(frozen=True)
class PlannedFault:
    """A fault of a topology, with its kind."""

    kind: Kind
    fault: Fault

    @property
    def label(self) -> str:
        """How tests are named by it: "a-LinkDown"."""
        return f"{self.fault.where}-{self.kind.name}"

    @property
    def words(self) -> frozenset[str]:
        """What it is selected by: its label, kind, family and effects, where it acts, how usual."""
        effects = (word for effect in self.fault.effects for word in _EFFECT_WORDS[effect])
        means = (word for one in self.fault.needs for word in _MEANS_WORDS[one])
        tried = {_USUAL: self.kind.usual, _DAMAGING: self.kind.damaging}
        flags = (word for word, holds in tried.items() if holds)
        own = (self.label, self.kind.name, self.kind.family.value)
        return frozenset({*own, *flags, *effects, *means})

    @property
    def own_words(self) -> tuple[str, ...]:
        """Those by which nothing is meant but it, its kind, or what does damage."""
        return (self.label, self.kind.name, _DAMAGING)


def losses(topology: Topology, possible: Possible) -> tuple[Fault, ...]:
    """The usual losses: each leaves every initiator a path. See `planned`."""
    return tuple(one.fault for one in planned(topology, possible) if one.kind.usual)


def planned(topology: Topology, possible: Possible) -> tuple[PlannedFault, ...]:
    """Every fault that leaves each initiator a path that it does not hit, kind by kind.

    Or whose kind is passing. What consists of several faults is made of those that are `possible`.
    The order and the names stay the same from run to run.
    """
    each = [{p.name for p in topology.paths if p.machine == one} for one in topology.initiators]
    return tuple(
        PlannedFault(kind, fault)
        for kind in CATALOGUE
        for fault in kind.everywhere(topology, possible)
        if kind.passing or all(own - set(fault.hits(topology)) for own in each)
    )


def least_loss_of(topology: Topology, path: str, possible: Possible) -> Fault | None:
    """The possible loss that takes this path, and as few others as can be; None if there is none.

    Of several that take as many, the first of `losses`. None of its paths may go on.
    """
    every = filter(possible, losses(topology, possible))
    taking = [loss for loss in every if path in loss.hits(topology) and not loss.goes_on]
    return min(taking, key=lambda loss: len(loss.hits(topology)), default=None)
