"""The catalogue of faults: what there is, and that all of it is healed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.faults import CATALOGUE, Fault, Kind, Lab, Means, heal_everything
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
