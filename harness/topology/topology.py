"""The wanted testbed as frozen data: its networks, and the paths that links and portals make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from harness.config.callouts import CalloutConfig
from harness.config.networks import AccessState
from harness.topology.parts import (
    Address,
    Controller,
    Link,
    Network,
    Nic,
    PlannedMachine,
    Portal,
    Role,
    TargetPortal,
)

_Part = TypeVar("_Part", "Network", "Link", "TargetPortal", "Path", "Controller", PlannedMachine)
_FIRST = Role.INITIATOR.value
_MADE = tuple(role.value for role in Role)
_TWO_MACHINES = tuple(PlannedMachine(role.value, role) for role in Role)


@dataclass(frozen=True)
class Path:
    """One way from an initiator to the LUNs: from a link to a portal, a session for each target.

    Whatever is measured, judged, broken and reported has this name; the SCSI disk that it is at
    the moment (`sda`) has another one after the next login.
    """

    name: str
    link: Link
    portal: TargetPortal

    def __str__(self) -> str:
        return f"{self.name} ({self.link.address} to {self.portal.portal})"

    @property
    def machine(self) -> str:
        """The initiator's name."""
        return self.link.machine


@dataclass(frozen=True)
class Lun:
    """A logical unit: its place among those of the target, and its name in reports ("lun0").

    Of one that the target makes: its size in bytes and its pinned serial (32 hex digits). Of one
    of an external target: its WWID, as multipath-tools has it, "" if it was not named. `iqn` is
    the name of the target that has it. `initiators` see it, of which those in `read_only` must not
    write to it.
    """

    number: int
    size: int
    serial: str
    wwid: str = ""
    iqn: str = ""
    initiators: tuple[str, ...] = (_FIRST,)
    read_only: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"lun{self.number}"

    def __str__(self) -> str:
        return self.name

    @property
    def writers(self) -> tuple[str, ...]:
        """The initiators that may write to it; each does so in a part of its own."""
        return tuple(one for one in self.initiators if one not in self.read_only)


@dataclass(frozen=True)
class PlannedMap:
    """A LUN as one initiator sees it: by one map, which is measured and judged by itself.

    `name` is the LUN's, with the machine before it if there are several initiators. `number` is
    its place among all maps of the testbed, from 0 on.
    """

    name: str
    machine: str
    lun: Lun
    number: int = 0

    @property
    def read_only(self) -> bool:
        """Whether the target refuses this initiator's writes."""
        return self.machine in self.lun.read_only

    @property
    def part(self) -> int:
        """Which of the LUN's parts it uses, from 0 on; who only reads uses the first one."""
        return 0 if self.read_only else self.lun.writers.index(self.machine)


@dataclass(frozen=True)
class Topology:
    """Everything about a testbed that is known before it exists.

    `machines` are its target and its initiators, `guests` the names of those that are made for it.
    `callouts` are the faults that commands of the user's own inject, one for each.
    """

    name: str
    networks: tuple[Network, ...]
    luns: tuple[Lun, ...]
    controllers: tuple[Controller, ...] = ()
    guests: tuple[str, ...] = _MADE
    machines: tuple[PlannedMachine, ...] = _TWO_MACHINES
    callouts: tuple[CalloutConfig, ...] = ()

    @property
    def initiators(self) -> tuple[str, ...]:
        """The names of the initiators, the first of which [initiator] describes."""
        return tuple(one.name for one in self.machines if one.role is Role.INITIATOR)

    @property
    def initiator_iqn(self) -> str:
        """The IQN of the initiator that this is about: the first one, of several."""
        return self.machine(self.initiators[0]).iqn

    @property
    def maps(self) -> tuple[PlannedMap, ...]:
        """Every LUN of every initiator that sees it, initiator by initiator."""
        several = len(self.initiators) > 1
        seen = (
            (machine, lun)
            for machine in self.initiators
            for lun in self.luns
            if machine in lun.initiators
        )
        return tuple(
            PlannedMap(f"{machine}/{lun.name}" if several else lun.name, machine, lun, number)
            for number, (machine, lun) in enumerate(seen)
        )

    def of(self, initiator: str) -> Topology:
        """What one initiator has of it: its links and paths, and the LUNs that it sees."""
        if self.initiators == (initiator,):
            return self
        names = (Role.TARGET, initiator)
        return replace(
            self,
            networks=tuple(network.of(initiator) for network in self.networks),
            luns=tuple(lun for lun in self.luns if initiator in lun.initiators),
            guests=tuple(name for name in self.guests if name in names),
            machines=tuple(one for one in self.machines if one.name in names),
        )

    def machine(self, name: str) -> PlannedMachine:
        """The machine of that name. Raises KeyError with the known names."""
        return _named(self.machines, name, "machine")

    def role(self, machine: str) -> Role:
        """What a machine is for."""
        return self.machine(machine).role

    @property
    def links(self) -> tuple[Link, ...]:
        """Every link, in the order of the networks."""
        return tuple(link for network in self.networks for link in network.links)

    @property
    def portals(self) -> tuple[TargetPortal, ...]:
        """Every portal, in the order of the networks."""
        return tuple(portal for network in self.networks for portal in network.portals)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path, in the order of the networks: from each link to each portal there."""
        return tuple(
            Path(_path_name(link, portal), link, portal)
            for network in self.networks
            for link in network.links
            for portal in network.portals
        )

    @property
    def target_iqns(self) -> tuple[str, ...]:
        """The name of every target. Some arrays have another one at each portal."""
        every = (iqn for portal in self.portals for iqn in self.iqns_at(portal))
        return tuple(dict.fromkeys(every))

    @property
    def target_iqn(self) -> str:
        """The name of the first target: the only one, unless the configuration names several."""
        return self.target_iqns[0]

    def iqns_at(self, portal: TargetPortal) -> tuple[str, ...]:
        """The name of every target that a portal leads to, in the order of their LUNs."""
        if portal.iqn is not None:
            return (portal.iqn,)
        return tuple(dict.fromkeys(lun.iqn for lun in self.luns))

    def iqns_of(self, lun: Lun) -> tuple[str, ...]:
        """Every name of the target that has a LUN: some arrays have another one at each portal."""
        return tuple(dict.fromkeys(portal.iqn or lun.iqn for portal in self.portals))

    def luns_of(self, iqn: str) -> tuple[Lun, ...]:
        """The LUNs of a target that has one name, in their order."""
        return tuple(lun for lun in self.luns if lun.iqn == iqn)

    @property
    def logins(self) -> tuple[tuple[Path, str], ...]:
        """Every session that there is to be: its path, and its target's name."""
        return tuple((path, iqn) for path in self.paths for iqn in self.iqns_at(path.portal))

    @property
    def shared(self) -> tuple[Network, ...]:
        """The networks where there may be others, other testbeds among them."""
        return tuple(network for network in self.networks if network.shared)

    @property
    def cables(self) -> tuple[Link, ...]:
        """The links that the hypervisor makes itself, from one guest to the other."""
        if len(self.guests) < len(self.machines):
            return ()
        return tuple(link for n in self.networks if not n.shared for link in n.links)

    def network(self, name: str) -> Network:
        """The network of that name. Raises KeyError with the known names."""
        return _named(self.networks, name, "network")

    def link(self, name: str) -> Link:
        """The link of that name. Raises KeyError with the known names."""
        return _named(self.links, name, "link")

    def portal(self, name: str) -> TargetPortal:
        """The portal of that name. Raises KeyError with the known names."""
        return _named(self.portals, name, "portal")

    def path(self, name: str) -> Path:
        """The path of that name. Raises KeyError with the known names."""
        return _named(self.paths, name, "path")

    def controller(self, name: str) -> Controller:
        """The controller of that name. Raises KeyError with the known names."""
        return _named(self.controllers, name, "controller")

    def access_state(self, portal: TargetPortal) -> AccessState:
        """What ALUA tells of a portal: the state of its controller."""
        return self.controller(portal.controller).access_state if portal.controller else "optimized"

    def nics(self, machine: str) -> tuple[Nic, ...]:
        """Every data NIC of a machine, in the order of the networks."""
        return tuple(nic for network in self.networks for nic in network.nics(machine))

    def nic_at(self, machine: str, link: str) -> Nic:
        """The NIC of a machine at its end of a link."""
        network = self.network(self.link(link).network)
        return next(nic for nic in network.nics(machine) if link in nic.links)

    def over_link(self, name: str) -> tuple[str, ...]:
        """The names of the paths that begin at a link."""
        return tuple(path.name for path in self.paths if path.link.name == name)

    def over_portal(self, name: str) -> tuple[str, ...]:
        """The names of the paths that lead to a portal."""
        return tuple(path.name for path in self.paths if path.portal.name == name)

    def over_controller(self, name: str) -> tuple[str, ...]:
        """The names of the paths that lead to a controller."""
        return tuple(path.name for path in self.paths if path.portal.controller == name)

    def ifaces_to(self, portal: TargetPortal) -> tuple[str, ...]:
        """The interfaces of open-iscsi by which the initiator logs in at a portal."""
        return tuple(link.iface for link in self.network(portal.network).links)

    def link_of(self, address: Address | None) -> Link | None:
        """The link whose NIC has that address."""
        return next((link for link in self.links if link.address == address), None)

    def path_of(self, portal: Portal | None, iface: str, iqn: str) -> Path | None:
        """The path of a session with a target, made to `portal` by an interface of open-iscsi.

        Where one link leads to the portal the session is that path by whatever interface. None if
        no session with that target was planned there.
        """
        found = [
            path
            for path in self.paths
            if path.portal.portal == portal and iqn in self.iqns_at(path.portal)
        ]
        if len(found) == 1:
            return found[0]
        return next((path for path in found if path.link.iface == iface), None)


def _named(every: Iterable[_Part], name: str, what: str) -> _Part:
    known = {one.name: one for one in every}
    if name not in known:
        raise KeyError(f"no {what} {name!r}; there are {list(known)}")
    return known[name]


def _path_name(link: Link, portal: TargetPortal) -> str:
    """The portal's name, after that of a further initiator, and with the NIC if it has several."""
    before = () if link.machine == _FIRST else (link.machine,)
    after = (link.nic,) if link.nic else ()
    return "-".join((*before, portal.name, *after))
