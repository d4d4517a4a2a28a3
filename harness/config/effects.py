"""Keys that would have no effect with a kind of target or a machine: refused, with the reason.

A value that equals the default is no demand, and passes: `pathproof config --toml` prints them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.config.base import Model
from harness.config.negotiation import Negotiation
from harness.config.uri import is_embedded

if TYPE_CHECKING:
    from harness.config.model import Config

_WITHOUT_ALUA = frozenset({"tgt", "iet"})
_SSH_PORT = 22  # of every VM, at all of its addresses


def require_effects(config: Config) -> None:
    """Raises ValueError that begins with the key."""
    for problem in _problems(config):
        raise ValueError(problem)


def _problems(config: Config) -> Iterator[str]:
    yield from _of_other_targets(config)
    yield from _of_ssh(config)
    yield from _never_in_force(config)
    if not config.initiator.is_made:
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
    for number, controller in enumerate(config.controllers):
        if controller.access_state != "optimized" and kind != "lio":
            yield (
                f"controllers.{number}.access_state: it is for a target of kind 'lio'; Pathproof "
                f"sets none on kind {kind!r}"
            )
    if config.controllers and all(c.access_state != "optimized" for c in config.controllers):
        yield (
            "controllers: all of them are non-optimized, so that no path is better than another; "
            "leave access_state out of one at least"
        )
    if config.initiator.path_grouping_policy == "group_by_prio" and kind in _WITHOUT_ALUA:
        yield (
            "initiator.path_grouping_policy: with 'group_by_prio' all paths would be in one path "
            f"group, as a target of kind {kind!r} has no ALUA, by which it would tell preferences; "
            "take 'multibus', which does the same, or kind 'lio'"
        )
    ports = {one.port or config.target.port for n in config.networks for one in n.portals}
    for number, network in enumerate(config.networks):
        for place, portal in enumerate(network.portals):
            if kind == "iet" and len(ports) > 1 and portal.port not in {None, config.target.port}:
                yield (
                    f"networks.{number}.portals.{place}.port: ietd(8) listens at one port, which "
                    "is target.port; leave it out, or take kind 'lio' or 'tgt'"
                )
            if portal.iqn is not None and config.target.is_made:
                yield (
                    f"networks.{number}.portals.{place}.iqn: it is that of an external target; "
                    f"kind {kind!r} has one name at all portals, target.iqn"
                )


def _of_ssh(config: Config) -> Iterator[str]:
    """Portals at the port where the target's VM is managed."""
    if not config.target.is_made:
        return
    for number, network in enumerate(config.networks):
        for place, portal in enumerate(network.portals):
            if (portal.port or config.target.port) == _SSH_PORT:
                key = f"networks.{number}.portals.{place}.port" if portal.port else "target.port"
                yield f"{key}: {_SSH_PORT} is that of SSH on the target; give another port"


def _never_in_force(config: Config) -> Iterator[str]:
    iet = config.target.iet
    paths = sum(
        len(network.portals)
        * sum(len(a) for a in (network.initiator, *_further(config, network.name)))
        for network in config.networks
    )
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
    for number, network in enumerate(config.networks):
        if network.segment and network.subnet.version == 6 and config.target.is_made:
            yield (
                f"networks.{number}.subnet: on a network that others use Pathproof makes sure of "
                "addresses by ARP, which is for IPv4; give IPv4 addresses, or leave out `bridge` "
                "and `libvirt_network` for cables"
            )
        if network.libvirt_network and is_embedded(config.hypervisor.uri):
            yield (
                f"networks.{number}.libvirt_network: the embedded libvirt has no networks; give "
                "`bridge`, or a hypervisor.uri such as qemu:///system"
            )


def _further(config: Config, network: str) -> Iterator[Sequence[object]]:
    """The addresses of each further initiator on a network."""
    return (one.addresses.get(network, ()) for one in config.initiators)


def _of_other_machines(config: Config) -> Iterator[str]:
    """Settings for VMs, which have no effect if the initiator is an existing machine."""
    why = f"initiator.machine is {config.initiator.machine!r}"
    for key, model in (("hypervisor", config.hypervisor), ("machines", config.machines)):
        for name in changed(model):
            if (key, name) != ("hypervisor", "fork"):  # it is never forked, whatever this says
                yield f"{key}.{name}: {why}, and no VM is made; leave it out"
    if "iqn" in changed(config.initiator):
        yield f"initiator.iqn: {why}, which keeps its own initiator name; leave it out"
    for number, network in enumerate(config.networks):
        for name in ("libvirt_network", "bridge"):
            if getattr(network, name) is not None:
                yield (
                    f"networks.{number}.{name}: {why}, and has NICs of its own on the network; "
                    "leave it out"
                )
        if len(network.initiator) > 1:
            yield (
                f"networks.{number}.initiator: {why}, where Pathproof makes records without asking "
                "the portal, and open-iscsi keeps one such record for all NICs; give one address"
            )
        if network.vlan is not None:
            yield (
                f"networks.{number}.vlan: {why}, whose NICs have their VLANs already; leave it "
                "out, and give the address of the VLAN's NIC"
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
