"""What a topology can lose and go on: links, portals, controllers, networks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.faults.base import Fault, Lab, Together
from harness.faults.link import LinkDown, PeerLinkDown
from harness.faults.silent_drop import InitiatorDrop, SilentDrop
from harness.topology import Topology

KINDS = (LinkDown, PeerLinkDown, SilentDrop, InitiatorDrop)


@dataclass(frozen=True)
class ControllerLost(Together):
    """Every portal of one controller falls silent at once."""

    controller: str = ""

    @property
    def where(self) -> str:
        return self.controller

    @property
    def name(self) -> str:
        return f"ControllerLost({self.controller})"


@dataclass(frozen=True)
class NetworkLost(Together):
    """Every NIC of an initiator on one network loses its carrier at once.

    Where the cables are out of reach every portal of the network falls silent at once.
    """

    network: str = ""

    @property
    def where(self) -> str:
        return self.network

    @property
    def name(self) -> str:
        return f"NetworkLost({self.network})"


@dataclass(frozen=True)
class OneByOne(Together):
    """Each fault is injected once the paths of those before it have failed; all heal at once.

    So each stall has one cause, and the budget of one fault is that of all.
    """

    group: str = ""

    @property
    def where(self) -> str:
        return self.group

    @property
    def name(self) -> str:
        return f"OneByOne({self.where})"

    def inject(self, lab: Lab) -> None:
        for number, fault in enumerate(self.faults, start=1):
            fault.inject(lab)
            lab.wait_until_lost(Together(self.faults[:number]).hits(lab.topology))


def losses(topology: Topology, possible: Callable[[Fault], bool]) -> tuple[Fault, ...]:
    """Everything that can be lost by itself and leaves each initiator a path, kind by kind.

    What consists of several faults is made of those that are `possible`. The order and the names
    stay the same from run to run.
    """
    each = [{p.name for p in topology.paths if p.machine == one} for one in topology.initiators]
    return tuple(
        fault
        for fault in (
            *(fault for kind in KINDS for fault in kind.everywhere(topology)),
            *_controllers(topology, possible),
            *_networks(topology, possible),
            *_all_but_one(topology, possible),
        )
        if all(own - set(fault.hits(topology)) for own in each)
    )


def least_loss_of(topology: Topology, path: str, possible: Callable[[Fault], bool]) -> Fault | None:
    """The possible loss that takes this path, and as few others as can be; None if there is none.

    Of several that take as many, the first of `losses`.
    """
    every = filter(possible, losses(topology, possible))
    taking = [loss for loss in every if path in loss.hits(topology)]
    return min(taking, key=lambda loss: len(loss.hits(topology)), default=None)


def _controllers(topology: Topology, possible: Callable[[Fault], bool]) -> Iterator[Fault]:
    for controller in topology.controllers:
        names = [p.name for p in topology.portals if p.controller == controller.name]
        drops = _drops(names, possible)
        if len(drops) > 1:
            yield ControllerLost(drops, controller.name)


def _networks(topology: Topology, possible: Callable[[Fault], bool]) -> Iterator[Fault]:
    """The loss of a single link or portal, if a network has no more, is a fault of its own.

    The links are those of every initiator.
    """
    for network in topology.networks:
        parts: tuple[Fault, ...] = tuple(LinkDown(link.name) for link in network.links)
        if not all(map(possible, parts)):  # such as of an existing initiator
            parts = _drops([portal.name for portal in network.portals], possible)
        if len(parts) > 1:
            yield NetworkLost(parts, network.name)


def _all_but_one(topology: Topology, possible: Callable[[Fault], bool]) -> Iterator[Fault]:
    """The loss of all portals but one, in a random order that is the same in every run.

    With two portals there is none: the loss of a single portal is a fault of its own.
    """
    names = [portal.name for portal in topology.portals]
    random.Random(topology.name).shuffle(names)  # noqa: S311  # an order, and no secret
    if len(names) > 2:
        yield OneByOne(_drops(names[1:], possible), group="all-but-one")


def _drops(portals: Sequence[str], possible: Callable[[Fault], bool]) -> tuple[Fault, ...]:
    """Silence at the target, or at the initiator if the target is external."""
    by_target = tuple(map(SilentDrop, portals))
    return by_target if all(map(possible, by_target)) else tuple(map(InitiatorDrop, portals))
