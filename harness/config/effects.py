"""Keys that would have no effect with a kind of target or a machine: refused, with the reason.

A value that equals the default is no demand, and passes: `pathproof config --toml` prints them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.config.base import Model
from harness.config.negotiation import Negotiation
from harness.config.uri import is_embedded

if TYPE_CHECKING:
    from harness.config.model import Config


def require_effects(config: Config) -> None:
    """Raises ValueError that begins with the key."""
    for problem in _problems(config):
        raise ValueError(problem)


def _problems(config: Config) -> Iterator[str]:
    yield from _of_other_targets(config)
    yield from _never_in_force(config)
    if not config.initiator.is_ours:
        yield from _of_other_machines(config)
    Negotiation.of(config.target.iet, config.initiator.iscsi)  # it says what can never be


def _of_other_targets(config: Config) -> Iterator[str]:
    kind = config.target.kind
    if kind != "iet":
        for name in changed(config.target.iet):
            yield (
                f"target.iet.{name}: only a target of kind 'iet' has it, and target.kind is "
                f"{kind!r}; leave it out"
            )
    for number, fabric in enumerate(config.fabrics):
        if fabric.access_state != "optimized" and kind != "lio":
            yield (
                f"fabrics.{number}.access_state: it is for a target of kind 'lio'; Pathproof "
                f"sets none on kind {kind!r}"
            )
        if fabric.iqn is not None and config.target.is_ours:
            yield (
                f"fabrics.{number}.iqn: it is that of an external target; kind {kind!r} has one "
                "name, target.iqn"
            )


def _never_in_force(config: Config) -> Iterator[str]:
    iet = config.target.iet
    paths = len(config.fabrics)
    if iet.max_sessions and iet.max_sessions < paths:
        yield (
            f"target.iet.max_sessions: {iet.max_sessions} is less than the {paths} paths, each of "
            "which is a session; IET would refuse the last login (02/06)"
        )
    if iet.nop_timeout_s and not iet.nop_interval_s:
        yield (
            "target.iet.nop_timeout_s: without target.iet.nop_interval_s IET sends no NOP-In whose "
            "answer could be late"
        )
    for number, fabric in enumerate(config.fabrics):
        if fabric.network and is_embedded(config.hypervisor.uri):
            yield (
                f"fabrics.{number}.network: the embedded libvirt has no networks; give `bridge`, "
                "or a hypervisor.uri such as qemu:///system"
            )


def _of_other_machines(config: Config) -> Iterator[str]:
    """What is for VMs, where the initiator is a machine that is there, and nothing is made."""
    why = f"initiator.machine is {config.initiator.machine!r}"
    for key, model in (("hypervisor", config.hypervisor), ("machines", config.machines)):
        for name in changed(model):
            if (key, name) != ("hypervisor", "fork"):  # it is never forked, whatever this says
                yield f"{key}.{name}: {why}, and no VM is made; leave it out"
    if "iqn" in changed(config.initiator):
        yield f"initiator.iqn: {why}, which keeps its own initiator name; leave it out"
    for number, fabric in enumerate(config.fabrics):
        for name in ("network", "bridge"):
            if getattr(fabric, name) is not None:
                yield (
                    f"fabrics.{number}.{name}: {why}, and has NICs of its own on the fabric; leave "
                    "it out"
                )
    profile = config.initiator.profile
    if not config.has_builtin_profile:
        for name in ("fast_io_fail_s", "polling_interval_s"):
            if getattr(config.profile, name) is not None:
                yield (
                    f"profiles.{profile}.{name}: {why}, whose multipathd keeps its own, since that "
                    "holds for disks of others, too; leave it out"
                )


def changed(model: Model) -> list[str]:
    """The keys of `model` that have another value than the default."""
    plain = {
        name: field.get_default(call_default_factory=True)
        for name, field in type(model).model_fields.items()
    }
    return [name for name, default in plain.items() if getattr(model, name) != default]
