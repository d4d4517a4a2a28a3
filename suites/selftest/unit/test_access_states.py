"""Controllers that change their access states, as both ends tell of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import InitiatorError, TimedOut
from harness.faults import (
    Lab,
    NonOptimized,
    Standby,
    Takeover,
    Transitioning,
    Unavailable,
    access_states,
)
from harness.faults.access_states import AccessStates
from harness.topology import plan
from harness.transport import SeenState, look_at_access_states
from harness.transport.access_states import parse_access_states
from suites.selftest.means import means_of
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

TOPOLOGY = plan(Config.model_validate(ready_topologies()["two-controllers"]))
NUMBERS = {
    "active/optimized": 0,
    "active/non-optimized": 1,
    "standby": 2,
    "unavailable": 3,
    "transitioning": 15,
}
PLANNED = {"c1": "active/optimized", "c2": "active/non-optimized"}


class Bed:
    """Both ends, each with its own idea of the states of c1 and c2; scripts are noted."""

    topology = TOPOLOGY

    def __init__(
        self, target: dict[str, str], known: dict[str, str], handler: str = "alua"
    ) -> None:
        self.target, self.known, self.handler = target, known, handler
        self.scripts: list[str] = []

    def machine(self, name: str) -> ScriptedMachine:
        assert name == "target"
        return ScriptedMachine(self._answer)

    def _answer(self, asked: Asked) -> Answer:
        script = asked.argv[-1]
        self.scripts.append(script)
        if "set_state" in script:
            return Answer()
        told = [f"{c} {NUMBERS[s]}\n" for c, s in self.target.items() if f"{c} $REPLY" in script]
        return Answer("".join(told))

    def access_states(self, paths: Collection[str]) -> list[tuple[str, SeenState]]:
        return [
            (path, SeenState(f"sd{path}", self.handler, self.known[f"c{path[-1]}"]))
            for path in paths
        ]

    @property
    def lab(self) -> Lab:
        return cast(Lab, self)


CASES: list[tuple[AccessStates, dict[str, str]]] = [
    (NonOptimized("c1"), {"c1": "active/non-optimized"}),
    (Standby("c1"), {"c1": "standby"}),
    (Unavailable("c2"), {"c2": "unavailable"}),
    (Transitioning("c1"), {"c1": "transitioning"}),
    (Takeover("c1"), {"c1": "unavailable", "c2": "active/optimized"}),
]


@pytest.mark.parametrize(("fault", "states"), CASES)
def test_a_state_is_in_force_when_both_ends_have_it(
    fault: AccessStates, states: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And over when both have what was planned."""
    monkeypatch.setattr(access_states, "_KNOWN_TIMEOUT_S", 0.1)
    both = Bed(PLANNED | states, PLANNED | states)
    fault.confirm(both.lab)
    seen = means_of(fault, both.lab)[fault.name]
    assert (seen.missing, seen.proves) == ("", True)
    with pytest.raises(TimedOut):
        fault.confirm_healed(both.lab)
    Bed(PLANNED, PLANNED)
    fault.confirm_healed(Bed(PLANNED, PLANNED).lab)
    not_set = means_of(fault, Bed(PLANNED, PLANNED).lab)[fault.name]
    assert not_set.missing.startswith("the access state of controller ")
    assert not not_set.proves
    not_known = means_of(fault, Bed(PLANNED | states, PLANNED).lab)[fault.name]
    assert not_known.missing.startswith("the initiator takes path ")


@pytest.mark.parametrize(("fault", "states"), CASES)
def test_without_a_device_handler_nothing_is_known(
    fault: AccessStates, states: dict[str, str]
) -> None:
    """The fault is there; what it does to such an initiator is left open."""
    bed = Bed(PLANNED | states, dict.fromkeys(PLANNED, ""), handler="detached")
    fault.confirm(bed.lab)
    seen = means_of(fault, bed.lab)[fault.name]
    assert seen.missing.startswith("no device handler reads the access state of sd")
    assert not seen.proves


def test_a_kernel_that_shows_no_state_leaves_it_open() -> None:
    """As of a disk that was there before the handler."""
    bed = Bed(PLANNED | {"c1": "standby"}, dict.fromkeys(PLANNED, ""))
    seen = means_of(Standby("c1"), bed.lab)["Standby(c1)"]
    assert seen.missing == "the kernel does not show the access state of sda1"


@pytest.mark.parametrize(
    ("fault", "hits", "limps", "loses"),
    [
        (NonOptimized("c1"), ("a1", "b1"), ("a1", "b1"), ()),
        (Standby("c1"), ("a1", "b1"), (), ()),
        (Unavailable("c2"), ("a2", "b2"), (), ("a2", "b2")),
        (Transitioning("c1"), ("a1", "b1"), (), ()),
        (Takeover("c1"), ("a1", "b1", "a2", "b2"), ("a2", "b2"), ("a1", "b1")),
    ],
)
def test_each_does_to_paths_what_it_says(
    fault: AccessStates, hits: tuple[str, ...], limps: tuple[str, ...], loses: tuple[str, ...]
) -> None:
    assert fault.hits(TOPOLOGY) == hits
    assert fault.limps(TOPOLOGY) == limps
    assert fault.loses(TOPOLOGY) == loses


def test_only_where_controllers_differ_there_is_one_to_prefer() -> None:
    """Without states of their own LIO's groups have none to change."""
    four = plan(Config.model_validate(ready_topologies()["four"]))
    for kind in (NonOptimized, Standby, Unavailable, Transitioning, Takeover):
        assert kind.everywhere(four, lambda _: True) == ()
        found = kind.everywhere(TOPOLOGY, lambda _: True)
        assert found == (kind("c1"), *((kind("c2"),) if kind is Unavailable else ()))


def test_a_takeover_and_its_giveback_take_their_time() -> None:
    """Afterwards a change takes none."""
    bed = Bed(PLANNED, PLANNED)
    Takeover("c1").inject(bed.lab)
    (takeover,) = bed.scripts
    assert "group1 3 3000 &" in takeover
    assert "group2 0 3000 &" in takeover
    Takeover("c1").heal(bed.lab)
    giveback, at_once = bed.scripts[1:]
    assert "group1 0 3000 &" in giveback
    assert "group2 1 3000 &" in giveback
    assert "group1 0 0 &" in at_once
    Standby("c1").inject(bed.lab)
    assert "group1 2 0 &" in bed.scripts[-1]
    assert "group2" not in bed.scripts[-1]


def test_a_transition_is_over_before_the_initiator_gives_it_up() -> None:
    assert Transitioning("c1").at_most_s(1) == 30


def test_states_are_read_of_the_disks_that_are_asked_for() -> None:
    """By one command; of none without any."""
    machine = ScriptedMachine(lambda _: Answer("sda|alua|active/optimized\nsdb|detached|\n"))
    assert look_at_access_states(machine, ["sda", "sdb"]) == {
        "sda": SeenState("sda", "alua", "active/optimized"),
        "sdb": SeenState("sdb", "detached", ""),
    }
    assert machine.asked[0].argv[-2:] == ("sda", "sdb")
    assert look_at_access_states(machine, []) == {}
    assert len(machine.asked) == 1


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(InitiatorError, match="not the access state of a disk: 'sda'"):
        parse_access_states("sda\n")
