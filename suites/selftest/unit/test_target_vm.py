"""Faults at the hypervisor's end of the target's VM: it is paused, or its disks are."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import cast

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import FaultError
from harness.faults import Lab, StorageHangs, StorageSlow, TargetPaused, Together, planned
from harness.faults.target_vm import _DisksLimited
from harness.topology import plan
from suites.selftest.means import means_of

ONE_SUBNET = plan(Config.model_validate(ready_topologies()["one-subnet"]))


class Hypervisor:
    """A lab whose target has two disks with LUNs, at one of which I/O waits."""

    def __init__(self, *, obeys: bool = True, in_flight: int = 3) -> None:
        self.topology = plan(Config())
        self.obeys = obeys
        self.runs = True
        self.has = {"vdb": (0, 0), "vdc": (0, 0)}
        disks = {"vda": SimpleNamespace(in_flight=9), "vdb": SimpleNamespace(in_flight=in_flight)}
        self.sample = SimpleNamespace(disks=disks)

    @property
    def target_vm(self) -> Hypervisor:
        return self

    @property
    def is_running(self) -> bool:
        return self.runs

    def set_running(self, *, running: bool) -> None:
        self.runs = running if self.obeys else self.runs

    def limit_disks(self, *, bytes_per_s: int, ios_per_s: int) -> None:
        if self.obeys:
            self.has = dict.fromkeys(self.has, (bytes_per_s, ios_per_s))

    def limits(self) -> dict[str, tuple[int, int]]:
        return self.has

    def observer(self, machine: str) -> object:
        assert machine == "target"
        return SimpleNamespace(latest=lambda _: self.sample)

    @property
    def lab(self) -> Lab:
        return cast(Lab, self)


def test_all_paths_wait_while_the_target_is_paused() -> None:
    """None is lost, and no cable is to blame; the machine itself cannot tell."""
    fault = TargetPaused()
    topology = ONE_SUBNET
    assert fault.hits(topology) == tuple(path.name for path in topology.paths)
    assert fault.loses(topology) == fault.limps(topology) == ()
    assert fault.disturbs(topology) == tuple(link.name for link in topology.links)
    assert fault.stops(topology) == ("target",)
    assert Together((fault, StorageSlow())).stops(topology) == ("target",)


def test_what_hits_every_path_and_loses_none_is_planned_everywhere() -> None:
    """A portal that both paths lead to must not be lost."""
    labels = {one.label for one in planned(ONE_SUBNET, lambda _: True)}
    assert {"target-TargetPaused", "target-StorageSlow", "target-StorageHangs"} <= labels
    assert "a-PortalClosed" not in labels


@pytest.mark.parametrize(("bears_s", "at_most_s"), [(1, 0.7), (5, 3.5), (60, 5), (inf, 5)])
def test_a_pause_is_shorter_than_what_sessions_bear(bears_s: float, at_most_s: float) -> None:
    assert TargetPaused().at_most_s(bears_s) == at_most_s
    both = Together((StorageHangs(), TargetPaused()))
    assert both.at_most_s(bears_s) == at_most_s


def test_a_hang_is_shorter_than_a_command_may_take() -> None:
    """Whatever a session bears; what is only slow may last."""
    assert StorageHangs().at_most_s(1) == 15
    assert StorageSlow().at_most_s(1) == inf


def test_a_pause_is_confirmed_sampled_and_over_by_what_the_hypervisor_says() -> None:
    here = Hypervisor()
    fault = TargetPaused()
    fault.inject(here.lab)
    fault.confirm(here.lab)
    assert means_of(fault, here.lab)[fault.name].missing == ""
    with pytest.raises(FaultError, match="is not healed: the target's VM"):
        fault.confirm_healed(here.lab)
    fault.heal(here.lab)
    fault.confirm_healed(here.lab)
    assert means_of(fault, here.lab)[fault.name].missing == "the target's VM runs"


def test_a_target_that_runs_on_is_not_paused() -> None:
    here = Hypervisor(obeys=False)
    TargetPaused().inject(here.lab)
    with pytest.raises(FaultError, match="the hypervisor says that the target runs"):
        TargetPaused().confirm(here.lab)


@pytest.mark.parametrize(("fault", "limits"), [(StorageHangs(), (1, 0)), (StorageSlow(), (0, 64))])
def test_disks_have_a_limit_and_i_o_waits_there(
    fault: _DisksLimited, limits: tuple[int, int]
) -> None:
    """Then it acts, by itself: what the target has in memory it answers all the same."""
    here = Hypervisor()
    topology = here.topology
    assert fault.limps(topology) == fault.hits(topology)
    assert fault.loses(topology) == ()
    assert fault.holds_disks
    assert Together((TargetPaused(), fault)).holds_disks
    fault.inject(here.lab)
    assert set(here.has.values()) == {limits}
    fault.confirm(here.lab)
    seen = means_of(fault, here.lab)[fault.name]
    assert (seen.missing, seen.proves) == ("", True)
    with pytest.raises(FaultError, match="is not healed: vdb, vdc still has a limit"):
        fault.confirm_healed(here.lab)
    fault.heal(here.lab)
    fault.confirm_healed(here.lab)
    assert (
        means_of(fault, here.lab)[fault.name].missing == "vdb, vdc of the target has no such limit"
    )


def test_where_no_i_o_waits_nothing_is_proven() -> None:
    """The system's own disk is none of the LUNs'."""
    here = Hypervisor(in_flight=0)
    fault = StorageHangs()
    fault.inject(here.lab)
    seen = means_of(fault, here.lab)[fault.name]
    assert (seen.missing, seen.proves) == ("", False)


def test_a_limit_that_is_not_in_force_is_no_fault() -> None:
    here = Hypervisor(obeys=False)
    StorageSlow().inject(here.lab)
    with pytest.raises(FaultError, match="vdb, vdc of the target has no such limit"):
        StorageSlow().confirm(here.lab)
