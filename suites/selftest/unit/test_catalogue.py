"""The catalogue of faults: what there is, what is chosen of it, and that all of it is healed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import ConfigError
from harness.faults import (
    CATALOGUE,
    Fault,
    Kind,
    Lab,
    Means,
    heal_everything,
    planned,
    select,
)
from harness.topology import Topology, plan

TOPOLOGIES = [plan(Config.model_validate(one)) for one in ready_topologies().values()]


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
    """And some ready topology can have it; each says what it is."""
    found = instances(kind)
    assert found
    for topology, fault in found:
        assert fault.name == f"{kind.name}({fault.where})"
        assert type(fault).__name__ == kind.name
        assert fault.hits(topology)
        assert fault.needs
        assert fault.effects
        assert fault.description


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda one: one.name)
def test_all_of_it_is_healed_once_whatever_it_is_a_part_of(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this lab has no means for was not injected, and cannot be healed."""
    parts = {
        part
        for kind in CATALOGUE
        for fault in kind.everywhere(topology, anything)
        for part in fault.parts
    }
    healed: list[str] = []
    for part in parts:
        monkeypatch.setattr(type(part), "heal", lambda one, _: healed.append(one.name))
    lab = cast(Lab, cast(Any, SimpleNamespace(topology=topology)))
    heal_everything(lab, lambda fault: Means.TARGET_CABLE not in fault.needs)
    possible = [part for part in parts if Means.TARGET_CABLE not in part.needs]
    assert 0 < len(possible) < len(parts)
    assert sorted(healed) == sorted(part.name for part in possible)


def chosen(expression: str, topology: str = "two-controllers") -> list[str]:
    config = Config.model_validate(ready_topologies()[topology])
    return [one.label for one in select(planned(plan(config), anything), expression)]


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("LinkDown", ["a-LinkDown", "b-LinkDown"]),
        ("linkdown and not a-linkdown", ["b-LinkDown"]),
        ("link and target", ["a-PeerLinkDown", "b-PeerLinkDown"]),
        ("unreachable and initiator", ["a-LinkDown", "b-LinkDown"]),
        ("several and not OneByOne", ["c1-ControllerLost", "c2-ControllerLost"]),
        ("inside and initiator", [f"{one}-InitiatorDrop" for one in ("a1", "a2", "b1", "b2")]),
        ("b2-SilentDrop or (link and hypervisor and not b-PeerLinkDown and target)",
         ["a-PeerLinkDown", "b2-SilentDrop"]),
    ],
)  # fmt: skip
def test_words_choose_faults(expression: str, labels: list[str]) -> None:
    """By kind, family, effect and end, however they are written; the order is the catalogue's."""
    assert chosen(expression) == labels


def test_what_is_unreachable_is_silent_too() -> None:
    """And together with what is not it is everything."""
    every = chosen("silent or not silent")
    assert chosen("silent") == every
    assert chosen("silent and not unreachable") == [
        label for label in every if not label.endswith("LinkDown")
    ]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("slient", "no fault is known by the word 'slient'"),
        ("silent or slient", "no fault is known by the word 'slient'"),
        ("NetworkLost", "no fault of this testbed is 'NetworkLost'"),
        ("silent and", "'silent and' is no expression: expected not OR left parenthesis"),
        ("", "no fault of this testbed is ''"),
        ("LinkDown(a)", "is no expression: expected ="),
        ("link(a=1)", "'link' takes no arguments"),
        ("__import__('os')", "is no expression"),
    ],
)
def test_an_expression_that_chooses_nothing_is_an_error(expression: str, says: str) -> None:
    """With what is wrong, and where the words are; nothing in it is run."""
    with pytest.raises(ConfigError) as raised:
        chosen(expression)
    assert says in raised.value.message
    assert "pathproof faults" in raised.value.hint
