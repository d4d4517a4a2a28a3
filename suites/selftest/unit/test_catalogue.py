"""The catalogue of faults: what there is, what is chosen of it, and that all of it is healed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import cast

import pytest

from harness.budget import Effect
from harness.config import Config
from harness.config.profiles import FAST
from harness.config.ready import ready_topologies
from harness.errors import ConfigError
from harness.faults import (
    CATALOGUE,
    Fault,
    Kind,
    Lab,
    Means,
    SilentDrop,
    heal_everything,
    planned,
    select,
)
from harness.faults.undoing import joined
from harness.topology import Role, Topology, plan
from harness.transport import IscsiInitiator
from suites.selftest.unit.scripted_machine import ScriptedMachine

OWN = {"name": "port", "links": ["a", "b"], "each": True, "inject": ["false"], "heal": ["false"]}
TOPOLOGIES = [
    *(plan(Config.model_validate(one)) for one in ready_topologies().values()),
    plan(Config.model_validate({"name": "callouts", "callouts": [OWN]})),
]


def anything(_: Fault) -> bool:
    return True


def instances(kind: Kind) -> list[tuple[Topology, Fault]]:
    """Everything of a kind that the ready topologies can have."""
    return [(one, fault) for one in TOPOLOGIES for fault in kind.everywhere(one, anything)]


def test_each_kind_has_a_name_of_its_own() -> None:
    names = [kind.name for kind in CATALOGUE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name)
def test_a_kind_makes_faults_of_its_name_that_hit_paths(kind: Kind) -> None:
    """But for those that no path notices.

    And some ready topology can have it; each says what it is.
    """
    found = instances(kind)
    assert found
    for topology, fault in found:
        assert fault.name == f"{kind.name}({fault.where})"
        assert type(fault) is kind.fault
        assert bool(fault.hits(topology)) is (fault.effects != {Effect.UNNOTICED})
        assert set(fault.loses(topology)) <= set(fault.hits(topology))
        assert not set(fault.loses(topology)) & set(fault.limps(topology))
        assert fault.needs
        assert fault.description


class Healed:
    """A lab that notes what is done to heal it, and by how many commands on each machine."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.initiators = {
            name: IscsiInitiator(ScriptedMachine(), topology.of(name), FAST, ("3600",))
            for name in topology.initiators
        }
        self.plugged_in: set[tuple[str, str]] = set()
        self.running: list[bool] = []
        self.limits: list[tuple[int, int]] = []
        self.machines: dict[str, list[ScriptedMachine]] = {}

    def set_link(self, machine: str, link: str, *, up: bool) -> None:
        assert up
        self.plugged_in.add((machine, link))

    @property
    def target_vm(self) -> Healed:
        return self

    def set_running(self, *, running: bool) -> None:
        self.running.append(running)

    def limit_disks(self, *, bytes_per_s: int, ios_per_s: int) -> None:
        self.limits.append((bytes_per_s, ios_per_s))

    def nic(self, machine: str, link: str) -> str:
        return f"{machine}-{link}"

    def machine(self, name: str) -> ScriptedMachine:
        one = ScriptedMachine()
        self.machines.setdefault(name, []).append(one)
        return one

    def script(self, machine: str) -> str:
        (one,) = self.machines[machine]
        ((argv, _),) = ((asked.argv, asked.stdin) for asked in one.asked)
        return argv[-1]


@pytest.mark.usefixtures("own_state")
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda one: one.name)
def test_all_of_it_is_healed_by_one_command_on_each_machine(topology: Topology) -> None:
    """Whatever it is a part of. The hypervisor plugs cables in, and lets machines and disks run.

    Commands of the user's own are not run for nothing: here they would fail.
    """
    lab = Healed(topology)
    heal_everything(cast(Lab, lab), anything)
    links = {(link.machine, link.name) for link in topology.links}
    assert lab.plugged_in == links | {
        (Role.TARGET, nic.links[0]) for nic in topology.nics(Role.TARGET)
    }
    assert lab.running == [True]
    assert set(lab.limits) == {(0, 0)}
    for machine in (Role.TARGET.value, *topology.initiators):
        script = lab.script(machine)
        for portal in topology.portals:
            table = SilentDrop(portal.name).table
            assert script.count(f"nft delete table inet {table}\n") == 0
            assert script.count(f"nft delete table inet {table}") == 1
        for nic in topology.nics(machine):
            assert nic.mac in script
            assert script.count(f"tc qdisc delete dev {machine}-{nic.links[0]} root") == 1


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda one: one.name)
def test_daemons_and_disks_of_each_initiator_are_mended_once(topology: Topology) -> None:
    """However many faults of them there are."""
    lab = Healed(topology)
    heal_everything(cast(Lab, lab), anything)
    for machine in topology.initiators:
        script = lab.script(machine)
        for daemon in ("iscsid", "multipathd"):
            assert script.count(f"systemctl start {daemon}.service") == 1
        assert script.count("echo running") == 1
        assert script.count("rm -f /run/pathproof/faults/Rescan") == 1


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda one: one.name)
def test_each_initiator_can_have_what_befalls_it_itself(topology: Topology) -> None:
    """Also what hits all of its paths, one after the other, once it is healed."""
    labels = [one.label for one in planned(topology, anything) if one.kind.family == "initiator"]
    assert labels == [
        *(
            f"{machine}-{kind}"
            for kind in (
                *("LoginDaemonKilled", "PathDaemonKilled"),
                *("PathDaemonRestarted", "PathDaemonReconfigured", "Rescan"),
            )
            for machine in topology.initiators
        ),
        *(
            f"{path.name}-{kind}"
            for kind in ("DiskOffline", "DiskDeleted")
            for path in topology.paths
        ),
    ]


def test_what_this_lab_has_no_means_for_is_not_healed() -> None:
    """It was not injected, and there is nothing to reach for."""
    lab = Healed(TOPOLOGIES[0])
    heal_everything(cast(Lab, lab), lambda fault: fault.needs == {Means.INITIATOR_GUEST})
    assert lab.plugged_in == set()
    assert not lab.running
    assert not lab.limits
    assert lab.machines.keys() == set(TOPOLOGIES[0].initiators)
    assert "ip link" not in lab.script("initiator")


def test_each_text_is_run_once_whatever_becomes_of_the_others(tmp_path: Path) -> None:
    """And in the end it is said that one failed."""
    scripts = [f"echo 1 >>{tmp_path}/log", "false; echo never", f"echo '2' >>{tmp_path}/log"]
    done = subprocess.run(["sh", "-euc", joined(scripts)], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert (tmp_path / "log").read_text() == "1\n2\n"
    done = subprocess.run(["sh", "-euc", joined(scripts[::2])], check=False)
    assert done.returncode == 0


PORTALS = ("a1", "a2", "b1", "b2")


def chosen(expression: str, topology: str = "two-controllers") -> list[str]:
    config = Config.model_validate(ready_topologies()[topology])
    return [one.label for one in select(planned(plan(config), anything), expression)]


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("LinkDown", ["a-LinkDown", "b-LinkDown"]),
        ("interrupted and target and link", [f"{one}-LargeFramesLost" for one in PORTALS]),
        ("storage and hypervisor",
         [f"target-{one}" for one in ("TargetPaused", "StorageSlow", "StorageHangs")]),
        ("not-ready", ["c1-LunsOffline", "c2-LunsOffline", "c1-Takeover"]),
        ("regrouped", ["c1-NonOptimized"]),
        ("session and refused", [*(f"{one}-PortalClosed" for one in PORTALS),
                                 "c1-LoginsRefused", "c2-LoginsRefused"]),
        ("link and initiator and inside and not AddressRemoved", ["a-NicDown", "b-NicDown"]),
        ("linkdown and not a-linkdown", ["b-LinkDown"]),
        ("reconnected", ["initiator-LoginDaemonKilled"]),
        ("unnoticed and session", [f"{one}-PortalRemoved" for one in PORTALS]),
        ("unnoticed and initiator and not (PathDaemonKilled or PathDaemonRestarted or Rescan)",
         ["initiator-PathDaemonReconfigured"]),
        ("detached and not DiskDeleted", [f"{one}-DiskOffline" for one in PORTALS]),
        ("initiator and inside and not (link or packet or detached or unnoticed)",
         ["initiator-LoginDaemonKilled"]),
        ("usual and link and target", ["a-PeerLinkDown", "b-PeerLinkDown"]),
        ("usual and unreachable and initiator", ["a-LinkDown", "b-LinkDown"]),
        ("several and not OneByOne", ["c1-ControllerLost", "c2-ControllerLost"]),
        ("usual and inside and initiator", [f"{one}-InitiatorDrop" for one in PORTALS]),
        ("b2-SilentDrop or (usual and link and hypervisor and not b-PeerLinkDown and target)",
         ["a-PeerLinkDown", "b2-SilentDrop"]),
    ],
)  # fmt: skip
def test_words_choose_faults(expression: str, labels: list[str]) -> None:
    """By kind, family, effect and end, however they are written; the order is the catalogue's."""
    assert chosen(expression) == labels


def test_what_does_damage_is_chosen_only_by_its_own_words() -> None:
    """Whoever asks for a family or an effect expects that sound storage passes."""
    assert not any("RequestsHeld" in label for label in chosen("packet or not packet"))
    held = ["a-RequestsHeld", "b-RequestsHeld"]
    assert chosen("damaging") == chosen("RequestsHeld") == held
    assert chosen("AnswersHeld or a-requestsheld") == [held[0], "a-AnswersHeld", "b-AnswersHeld"]
    with pytest.raises(ConfigError):
        chosen("unreachable and packet and initiator")


def test_what_is_unreachable_is_silent_too() -> None:
    """And together with what is not it is everything."""
    assert set(chosen("unreachable")) < set(chosen("silent"))
    assert "a-LinkDown" in chosen("unreachable")
    assert "a1-SilentDrop" in chosen("silent and not unreachable")
    every = chosen("silent or not silent")
    assert sorted([*chosen("silent"), *chosen("not silent")]) == sorted(every)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("slient", "no fault is known by the word 'slient'"),
        ("silent or slient", "no fault is known by the word 'slient'"),
        ("NetworkLost", "no fault of this testbed is 'NetworkLost'"),
        ("silent and", "'silent and' is no expression of words"),
        ("", "'' is no expression of words"),
        ("LinkDown(a)", "is no expression of words"),
        ("link(a=1)", "is no expression of words"),
        ("link SilentDrop", "is no expression of words"),
        ("()", "is no expression of words"),
        ("_1", "no fault is known by the word '_1'"),
        ("link and -silent", "no fault is known by the word '-silent'"),
        ("link, silent", "is no expression of words"),
        ("__import__('os')", "is no expression"),
    ],
)
def test_an_expression_that_chooses_nothing_is_an_error(expression: str, says: str) -> None:
    """With what is wrong, and where the words are; nothing in it is run."""
    with pytest.raises(ConfigError) as raised:
        chosen(expression)
    assert says in raised.value.message
    assert "pathproof faults" in raised.value.hint
