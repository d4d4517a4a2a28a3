"""What a topology can lose and go on: what is injected, under which names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.faults import Fault, Means, catalogue, least_loss_of, losses
from harness.faults.base import Lab
from harness.faults.losses import ControllerLost, NetworkLost, OneByOne
from harness.topology import Role, Topology, plan

TWO = (
    *("LinkDown(a)", "LinkDown(b)", "PeerLinkDown(a)", "PeerLinkDown(b)"),
    *("SilentDrop(a)", "SilentDrop(b)", "InitiatorDrop(a)", "InitiatorDrop(b)"),
)
FOUR = (
    *("LinkDown(a)", "LinkDown(b)", "PeerLinkDown(a)", "PeerLinkDown(b)"),
    *("SilentDrop(a1)", "SilentDrop(a2)", "SilentDrop(b1)", "SilentDrop(b2)"),
    *("InitiatorDrop(a1)", "InitiatorDrop(a2)", "InitiatorDrop(b1)", "InitiatorDrop(b2)"),
)
ALL_BUT_ONE = "OneByOne(all-but-one)"
LOSSES = {
    "two": TWO,
    "four": (*FOUR, ALL_BUT_ONE),
    "two-controllers": (*FOUR, "ControllerLost(c1)", "ControllerLost(c2)", ALL_BUT_ONE),
    "one-subnet": (
        *("LinkDown(a-nic1)", "LinkDown(a-nic2)"),
        *("PeerLinkDown(a-nic1)", "PeerLinkDown(a-nic2)"),
    ),
}


def ready(name: str) -> Topology:
    """A topology that comes with the harness."""
    return plan(Config.model_validate(ready_topologies()[name]))


def network(
    number: int, portals: int = 1, nics: int = 1, bridge: str | None = None, **more: str
) -> dict[str, Any]:
    """One network of a testbed's file; `more` is said of each portal."""
    return {
        "name": "abcd"[number],
        "subnet": f"172.16.{number}.0/24",
        "portals": [{"address": f"172.16.{number}.{host + 1}", **more} for host in range(portals)],
        "initiator": [f"172.16.{number}.{host + 101}" for host in range(nics)],
        "bridge": bridge,
    }


def planned(*networks: dict[str, Any]) -> Topology:
    return plan(Config.model_validate({"networks": networks}))


def everything(_: Fault) -> bool:
    return True


def without_the_target(fault: Fault) -> bool:
    """As with an array, whose cables and commands are out of reach."""
    return fault.needs.isdisjoint({Means.TARGET_CABLE, Means.TARGET_GUEST})


def by_the_initiator_alone(fault: Fault) -> bool:
    """As with an array and an existing initiator."""
    return fault.needs == {Means.INITIATOR_GUEST}


def ids(topology: Topology) -> list[str]:
    """As tests are named by them."""
    return [f"{one.where}-{type(one).__name__}" for one in losses(topology, everything)]


@pytest.mark.parametrize("name", LOSSES)
def test_everything_is_lost_that_can_be(name: str) -> None:
    """Each link and portal by each kind, each controller, and the same at every call."""
    assert tuple(one.name for one in losses(ready(name), everything)) == LOSSES[name]
    assert losses(ready(name), everything) == losses(ready(name), everything)


NUMBERS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3)


@given(NUMBERS.filter(lambda all_: sum(portals * nics for portals, nics in all_) > 1))
def test_some_path_is_left_whatever_is_lost(numbers: list[tuple[int, int]]) -> None:
    """In networks with so many portals and NICs each; and some path is lost."""
    topology = planned(*(network(n, *portals_nics) for n, portals_nics in enumerate(numbers)))
    every = {path.name for path in topology.paths}
    for loss in losses(topology, everything):
        assert set() < set(loss.hits(topology)) < every, loss.name
    names = ids(topology)
    assert len(set(names)) == len(names)
    assert names == ids(topology)


@pytest.mark.parametrize("name", ready_topologies())
def test_no_ready_topology_loses_every_path(name: str) -> None:
    """Every path is hit by something, and the tests of all this have names of their own."""
    topology = ready(name)
    every = {path.name for path in topology.paths}
    hit = [set(loss.hits(topology)) for loss in losses(topology, everything)]
    assert set().union(*hit) == every
    assert all(paths < every for paths in hit)
    assert len(set(ids(topology))) == len(hit)


def test_a_link_takes_the_paths_of_all_its_portals() -> None:
    """And a portal only its own."""
    topology = ready("four")
    hits = {one.name: one.hits(topology) for one in losses(topology, everything)}
    assert hits["LinkDown(a)"] == hits["PeerLinkDown(a)"] == ("a1", "a2")
    assert hits["SilentDrop(b1)"] == hits["InitiatorDrop(b1)"] == ("b1",)


def test_a_controller_takes_its_portals_on_every_network() -> None:
    """All of them fall silent at once."""
    topology = ready("two-controllers")
    lost = [one for one in losses(topology, everything) if isinstance(one, ControllerLost)]
    assert [one.hits(topology) for one in lost] == [("a1", "b1"), ("a2", "b2")]
    assert [part.name for part in lost[1].parts] == ["SilentDrop(a2)", "SilentDrop(b2)"]
    assert lost[1].needs == {Means.TARGET_GUEST}


def test_a_controller_with_one_portal_is_no_loss_of_its_own() -> None:
    """The portal's is the same."""
    networks = [network(n, controller=f"c{n}") for n in range(2)]
    config = {"networks": networks, "controllers": [{"name": "c0"}, {"name": "c1"}]}
    topology = plan(Config.model_validate(config))
    assert tuple(one.name for one in losses(topology, everything)) == TWO


def test_an_arrays_controller_falls_silent_at_the_initiators_end() -> None:
    """Where nothing can be done at the target."""
    topology = ready("two-controllers")
    found = losses(topology, without_the_target)
    assert [one.name for one in found] == [one.name for one in losses(topology, everything)]
    assert [part.name for part in found[-2].parts] == ["InitiatorDrop(a2)", "InitiatorDrop(b2)"]
    assert found[-2].needs == found[-1].needs == {Means.INITIATOR_GUEST}


def test_a_network_with_several_nics_can_be_lost_as_one() -> None:
    """If another one is left."""
    topology = planned(network(0, nics=2), network(1))
    lost = [one for one in losses(topology, everything) if isinstance(one, NetworkLost)]
    assert [one.name for one in lost] == ["NetworkLost(a)"]
    assert lost[0].hits(topology) == ("a-nic1", "a-nic2")
    assert [part.name for part in lost[0].parts] == ["LinkDown(a-nic1)", "LinkDown(a-nic2)"]


def test_an_existing_initiator_loses_a_network_by_its_portals() -> None:
    """Its cables are out of reach; a network with one portal is lost with that."""

    def lost(topology: Topology, possible: Callable[[Fault], bool]) -> dict[str, list[str]]:
        every = losses(topology, possible)
        return {
            one.name: [part.name for part in one.parts]
            for one in every
            if isinstance(one, NetworkLost)
        }

    assert lost(ready("four"), by_the_initiator_alone) == {
        "NetworkLost(a)": ["InitiatorDrop(a1)", "InitiatorDrop(a2)"],
        "NetworkLost(b)": ["InitiatorDrop(b1)", "InitiatorDrop(b2)"],
    }
    assert lost(ready("four"), without_the_target) == {}  # a link's loss is the same
    two_nics = planned(network(0, nics=2), network(1, portals=2))
    assert lost(two_nics, by_the_initiator_alone).keys() == {"NetworkLost(b)"}
    assert lost(two_nics, without_the_target).keys() == {"NetworkLost(a)"}


def test_on_a_shared_network_the_target_loses_its_only_nic() -> None:
    """With it all links there, so that is one loss; and none at all where no other network is."""
    topology = planned(network(0, nics=2, bridge="br-san"), network(1))
    assert len(topology.nics(Role.TARGET)) == 2
    hits = {one.name: one.hits(topology) for one in losses(topology, everything)}
    assert hits["PeerLinkDown(a-nic1)"] == ("a-nic1", "a-nic2")
    assert "PeerLinkDown(a-nic2)" not in hits
    alone = planned(network(0, nics=2, bridge="br-san"))
    names = [one.name for one in losses(alone, everything)]
    assert names == ["LinkDown(a-nic1)", "LinkDown(a-nic2)"]


def least(topology: Topology, possible: Callable[[Fault], bool]) -> list[str]:
    """The least loss of each path."""
    found = [least_loss_of(topology, path.name, possible) for path in topology.paths]
    return [one.name if one else "none" for one in found]


def test_the_least_loss_of_a_path_takes_no_other_where_that_can_be() -> None:
    """Of those that take as many it is a link's; two NICs that lead to one portal each are one."""
    assert least(ready("two"), everything) == ["LinkDown(a)", "LinkDown(b)"]
    portals = ["a1", "a2", "b1", "b2"]
    assert least(ready("four"), everything) == [f"SilentDrop({name})" for name in portals]
    one_link = planned(network(0, portals=2))
    assert least(one_link, everything) == ["SilentDrop(a1)", "SilentDrop(a2)"]
    assert least(ready("one-subnet"), everything) == ["LinkDown(a-nic1)", "LinkDown(a-nic2)"]


def test_the_least_loss_is_one_that_is_possible() -> None:
    """With an existing initiator and its array; there may be none."""
    assert least(ready("two"), by_the_initiator_alone) == ["InitiatorDrop(a)", "InitiatorDrop(b)"]
    two_nics = planned(network(0, nics=2), network(1))
    assert least(two_nics, by_the_initiator_alone) == ["InitiatorDrop(a)"] * 2 + [
        "InitiatorDrop(b)"
    ]
    assert least(ready("one-subnet"), by_the_initiator_alone) == ["none", "none"]


def all_but_one(topology: Topology) -> OneByOne:
    (found,) = (one for one in losses(topology, everything) if isinstance(one, OneByOne))
    return found


def test_of_several_portals_all_but_one_are_lost() -> None:
    """In an order that is always the same, and depends on the testbed's name alone."""
    config = Config.model_validate(ready_topologies()["four"])
    kept = set()
    for number in range(20):
        topology = plan(config.model_copy(update={"name": f"bed{number}"}))
        lost = all_but_one(topology)
        assert lost == all_but_one(topology)
        assert len(lost.parts) == len(set(lost.hits(topology))) == 3
        kept |= {path.name for path in topology.paths} - set(lost.hits(topology))
    assert len(kept) > 1


class Written:
    """A lab that writes down what is done to it, and for the loss of which paths it was waited."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.log: list[str] = []

    def machine(self, name: str) -> Written:
        assert name == Role.TARGET
        return self

    def run(self, argv: list[str], *, stdin: bytes, timeout_s: float) -> None:
        tables = set(re.findall(rb"pathproof_drop_(\w+)", stdin))
        self.log.append(f"drop {b' '.join(tables).decode()}")

    def wait_until_lost(self, paths: Sequence[str]) -> None:
        self.log.append(f"wait {' '.join(paths)}")


def test_each_loss_waits_until_the_one_before_it_was_noticed() -> None:
    """So that each stall has one cause."""
    lab = Written(ready("four"))
    lost = all_but_one(lab.topology)
    lost.inject(cast(Lab, lab))
    one, two, three = lost.hits(lab.topology)
    assert lab.log == [
        *(f"drop {one}", f"wait {one}", f"drop {two}", f"wait {one} {two}"),
        *(f"drop {three}", f"wait {one} {two} {three}"),
    ]


def test_only_what_acts_on_a_cable_or_a_nic_disturbs_it() -> None:
    """While packets are dropped the lab's cables must carry what is sent."""
    topology = ready("two-controllers")
    every = [one.fault for one in catalogue.planned(topology, everything)]
    disturbed = {one.name: one.disturbs(topology) for one in every}
    for kind in ("BothEndsDown", "NicDown", "PeerNicDown", "LinkFlaps"):
        assert disturbed[f"{kind}(a)"] == ("a",)
    for name in ("PacketLoss(a)", "Delay(a-target)", "RequestsHeld(a)", "AnswersHeld(a)"):
        assert disturbed[name] == ("a",)
    for name in ("AddressRemoved(a)", "PortalAddressRemoved(a1)", "LargeFramesLost(a1)"):
        assert disturbed[name] == ()
    assert disturbed["LinkDown(a)"] == disturbed["PeerLinkDown(a)"] == ("a",)
    assert disturbed["SilentDrop(a1)"] == disturbed["ControllerLost(c1)"] == ()
    nics = planned(network(0, nics=2), network(1))
    (lost,) = (one for one in losses(nics, everything) if isinstance(one, NetworkLost))
    assert lost.disturbs(nics) == ("a-nic1", "a-nic2")
