"""Further initiators beside [initiator]: their names, their addresses, and what they may see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from harness.config.base import Model
from harness.config.networks import Addresses, of_no_machine

if TYPE_CHECKING:
    from harness.config.model import Config

FIRST = "initiator"  # the name of the machine that [initiator] describes
_TAKEN = frozenset({FIRST, "target"})
_MOST = 3  # beside the first
# Each part of the region has an area to read, a quarter at most, and blocks to write.
_FEWEST_BLOCKS = 4

InitiatorName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,11}$")]


class FurtherInitiator(Model):
    """One more initiator: a VM that is made for the run, with the settings of [initiator]."""

    name: InitiatorName = Field(description="of the machine, and of its links and paths in reports")
    iqn: str | None = Field(None, description="else initiator.iqn, a hyphen and the name")
    addresses: dict[str, Addresses] = Field(
        description="its address on each network, by the network's name; several for a NIC each"
    )

    def iqn_beside(self, first: str) -> str:
        """Its IQN, where that of [initiator] is `first`."""
        return self.iqn or f"{first}-{self.name}"


def initiator_names(config: Config) -> tuple[str, ...]:
    """Every initiator by the name of its machine, that of [initiator] first."""
    return (FIRST, *(one.name for one in config.initiators))


def require_initiators(config: Config) -> None:
    """Raises ValueError, which begins with the key."""
    for problem in (
        *_made(config),
        *_apart(config),
        *_no_target(config),
        *_addressed(config),
        *_luns(config),
    ):
        raise ValueError(problem)


def _made(config: Config) -> Iterator[str]:
    if not config.initiators:
        return
    if not config.initiator.is_made:
        yield (
            f"initiators: initiator.machine is {config.initiator.machine!r}, and several "
            "initiators are VMs that are made for the run, all from one image; leave them out"
        )
    if not config.target.is_made:
        yield (
            "initiators: the target is external, and Pathproof masks no LUNs there: it could not "
            "keep one initiator from the data of another; leave them out"
        )
    for number, network in enumerate(config.networks):
        if network.segment:
            yield (
                f"networks.{number}: it is on {network.segment}, and several initiators are on "
                "the lab's own cables; leave that out, or the further initiators"
            )
    if len(config.initiators) > _MOST:
        yield f"initiators: there are {len(config.initiators)}; {_MOST} beside [initiator] at most"


def _apart(config: Config) -> Iterator[str]:
    """Machines and IQNs all have names of their own; for links see `require_names_apart`."""
    counted = Counter(one.name for one in config.initiators)
    for number, one in enumerate(config.initiators):
        if one.name in _TAKEN or counted[one.name] > 1:
            yield (
                f"initiators.{number}.name: another machine is named {one.name!r}; each has a "
                "name of its own"
            )
    first = config.initiator.iqn
    iqns = Counter(i.lower() for i in (first, *(o.iqn_beside(first) for o in config.initiators)))
    for number, one in enumerate(config.initiators):
        if iqns[one.iqn_beside(first).lower()] > 1:
            yield (
                f"initiators.{number}.iqn: two initiators have it, as capitals do not count in it "
                "(RFC 7143 section 4.2.7); the target masks LUNs by it"
            )


def _no_target(config: Config) -> Iterator[str]:
    """No initiator that is made has a name of the target, which is another machine."""
    first, target = config.initiator.iqn, config.target
    portals = (portal for network in config.networks for portal in network.portals)
    names = [target.iqn, *(lun.target_iqn for lun in config.luns), *(one.iqn for one in portals)]
    taken = {name.lower() for name in names if name is not None}
    own = {"initiator.iqn": first} if config.initiator.is_made else {}
    own |= {f"initiators.{n}.iqn": o.iqn_beside(first) for n, o in enumerate(config.initiators)}
    for key, iqn in own.items():
        if iqn.lower() in taken:
            yield (
                f"{key}: {iqn!r} is a name of the target, too, as capitals do not count in it "
                "(RFC 7143 section 4.2.7); give each machine its own"
            )


def _addressed(config: Config) -> Iterator[str]:
    known = {network.name: network for network in config.networks}
    for number, one in enumerate(config.initiators):
        key = f"initiators.{number}.addresses"
        for name in one.addresses:
            if name not in known:
                yield f"{key}.{name}: there is no such network; there are {', '.join(known)}"
        for name, network in known.items():
            if name not in one.addresses:
                yield f"{key}: network {name} is missing; each initiator is on every network"
                continue
            others = [*network.at_target, *network.initiator]
            others += [
                a for o in config.initiators if o is not one for a in o.addresses.get(name, ())
            ]
            for address in one.addresses[name]:
                if address not in network.subnet:
                    yield f"{key}.{name}: {address} is not in {network.subnet}"
                elif why := of_no_machine(address, network.subnet):
                    yield f"{key}.{name}: {address} {why}"
                if address in others or one.addresses[name].count(address) > 1:
                    yield f"{key}.{name}: {address} is there twice; each NIC has its own"
            if len(one.addresses[name]) > 1 and any(portal.via for portal in network.portals):
                yield (
                    f"{key}.{name}: a portal with `via` needs a network where each initiator has "
                    "one address: a route has one NIC"
                )
        paths = sum(len(on.portals) * len(one.addresses.get(n, ())) for n, on in known.items())
        if paths < 2:
            yield (
                f"{key}: at least two paths are needed, {one.name} has {paths}; give it "
                "another address, or the target another portal or network"
            )


def _luns(config: Config) -> Iterator[str]:
    """Which initiator sees which LUN, and may write to it."""
    names = initiator_names(config)
    kind = config.target.kind
    seen: set[str] = set()
    for number, lun in enumerate(config.every_lun):
        key = f"luns.{number}"
        admitted = names if lun.initiators is None else lun.initiators
        read_only = lun.read_only or ()
        seen |= set(admitted)
        for which, listed in (("initiators", admitted), ("read_only", read_only)):
            if unknown := [name for name in listed if name not in names]:
                yield (
                    f"{key}.{which}: {', '.join(unknown)} is no initiator; there are "
                    f"{', '.join(names)}"
                )
            if twice := [name for name, count in Counter(listed).items() if count > 1]:
                yield f"{key}.{which}: {', '.join(twice)} is there twice"
        if strangers := [name for name in read_only if name not in admitted]:
            yield f"{key}.read_only: {', '.join(strangers)} is none of the LUN's initiators"
        writers = [name for name in admitted if name not in read_only]
        if not writers:
            yield f"{key}.read_only: an initiator is needed that writes what the others read"
        if kind in {"tgt", "iet"} and (read_only or set(admitted) != set(names)):
            which = "read_only" if read_only else "initiators"
            yield (
                f"{key}.{which}: a target of kind {kind!r} shows every LUN to every initiator "
                "alike; leave it out, or take kind 'lio'"
            )
        workload = config.workload
        if (
            len(writers) > 1
            and workload.region // len(writers) < _FEWEST_BLOCKS * workload.block_size
        ):
            yield (
                f"workload.region: {len(writers)} initiators write to LUN {number}, each in a part "
                f"of its own, which must have room for {_FEWEST_BLOCKS} blocks"
            )
    if blind := [name for name in names if name not in seen]:
        yield f"luns: {', '.join(blind)} would see no LUN; name it in `initiators` of one"
