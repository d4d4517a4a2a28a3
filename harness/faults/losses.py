"""What is lost as one: controllers, networks, all portals but one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.faults.base import Fault, Lab
from harness.faults.kind import Family, Kind, Possible
from harness.faults.link import LinkDown
from harness.faults.silent_drop import InitiatorDrop, SilentDrop
from harness.faults.together import Together
from harness.topology import Topology


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


def _controllers(topology: Topology, possible: Possible) -> list[Fault]:
    """The loss of a single portal, if a controller has no more, is a fault of its own."""
    portals = {
        controller.name: [p.name for p in topology.portals if p.controller == controller.name]
        for controller in topology.controllers
    }
    return [
        ControllerLost(_drops(names, possible), controller)
        for controller, names in portals.items()
        if len(names) > 1
    ]


def _networks(topology: Topology, possible: Possible) -> list[Fault]:
    """The loss of a single link or portal, if a network has no more, is a fault of its own.

    The links are those of every initiator.
    """
    found: list[Fault] = []
    for network in topology.networks:
        parts: tuple[Fault, ...] = tuple(LinkDown(link.name) for link in network.links)
        if not all(map(possible, parts)):  # such as of an existing initiator
            parts = _drops([portal.name for portal in network.portals], possible)
        if len(parts) > 1:
            found.append(NetworkLost(parts, network.name))
    return found


def _all_but_one(topology: Topology, possible: Possible) -> list[Fault]:
    """The loss of all portals but one, in a random order that is the same in every run.

    With two portals there is none: the loss of a single portal is a fault of its own.
    """
    names = [portal.name for portal in topology.portals]
    random.Random(topology.name).shuffle(names)  # noqa: S311  # an order, and no secret
    if len(names) <= 2:
        return []
    return [OneByOne(_drops(names[1:], possible), group="all-but-one")]


def _drops(portals: Sequence[str], possible: Possible) -> tuple[Fault, ...]:
    """Silence at the target, or at the initiator if the target is external."""
    by_target = tuple(map(SilentDrop, portals))
    return by_target if all(map(possible, by_target)) else tuple(map(InitiatorDrop, portals))


SEVERAL_KINDS = (
    Kind(
        ControllerLost,
        "controller",
        Family.SEVERAL,
        "every portal of one controller falls silent (`SilentDrop`, or `InitiatorDrop`)",
        "what its parts show",
        _controllers,
        usual=True,
    ),
    Kind(
        NetworkLost,
        "network",
        Family.SEVERAL,
        "every NIC of every initiator on one network has no carrier; with an existing initiator "
        "every portal there falls silent (`InitiatorDrop`)",
        "what its parts show",
        _networks,
        usual=True,
    ),
    Kind(
        OneByOne,
        "group",
        Family.SEVERAL,
        "all portals but one fall silent, each once the paths of those before have failed",
        "what its parts show",
        _all_but_one,
        usual=True,
    ),
)
