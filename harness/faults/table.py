"""The table of all kinds of faults, as docs/faults.md has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import ConfigError
from harness.faults.base import Fault, Means
from harness.faults.catalogue import CATALOGUE
from harness.faults.kind import Family, Kind
from harness.topology import plan

_HEADER = ("fault", "family", "effect", "acts", "what is broken", "what the initiator can see")
_ACTS: Mapping[Means, str] = {
    Means.INITIATOR_CABLE: "at the hypervisor",
    Means.INITIATOR_GUEST: "on the initiator",
    Means.INITIATOR_NIC: "on the initiator",
    Means.INITIATOR_DAEMONS: "on the initiator",
    Means.TARGET_CABLE: "at the hypervisor",
    Means.TARGET_GUEST: "on the target",
    Means.TARGET_VM: "at the hypervisor",
    Means.LIO: "on the target",
}


def markdown() -> str:
    """The table, a row for each kind of the catalogue."""
    lines = [_line(_HEADER), "|---" * len(_HEADER) + "|"]
    return "\n".join([*lines, *(_line(_cells(kind)) for kind in CATALOGUE)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(kind: Kind) -> tuple[str, ...]:
    effects, acts = "those of its parts", "where its parts do"
    if kind.family is Family.CALLOUT:
        effects, acts = "as configured", "where its commands do"
    elif kind.family is not Family.SEVERAL:
        examples = _examples(kind)
        effects = ", ".join(sorted(examples[0].effects))
        means = (_ACTS[one] for fault in examples for one in sorted(fault.needs))
        acts = " or ".join(dict.fromkeys(means))
    name = f"`{kind.name}({kind.named_after})`"
    return (name, kind.family, effects, acts, kind.breaks, kind.shows)


def _examples(kind: Kind) -> Sequence[Fault]:
    """Those of the first ready topology that can have it."""
    for described in ready_topologies().values():
        if found := kind.everywhere(plan(Config.model_validate(described)), lambda _: True):
            return found
    raise ConfigError(f"no ready topology can have a {kind.name}")
