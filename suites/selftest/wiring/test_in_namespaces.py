"""Networks of the ready topologies between two network namespaces of this host: a real kernel.

Both ends are configured by the harness's own scripts; there are no sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from harness.config.ready import topology_names
from harness.deadline import Deadline, poll
from suites.selftest.wiring.plants import PLANTS, filled_in
from suites.selftest.wiring.wired import wired


def soon(condition: Callable[[], object]) -> None:
    poll(lambda: bool(condition()), what="it", deadline=Deadline.after(10), every_s=0.2)


@pytest.mark.parametrize("name", topology_names())
def test_a_topology_that_is_configured_as_planned_is_wired_as_planned(name: str) -> None:
    """By the harness itself. The neighbours of a bridge take a moment to learn of each other."""
    with wired(name) as wires:
        soon(lambda: not wires.causes())


BY_NETWORK = [
    (topology, name)
    for topology, plants in PLANTS.items()
    for name, plant in plants.items()
    if plant.by_network
]


@pytest.mark.parametrize(("topology", "plant"), BY_NETWORK)
def test_a_wrong_wiring_is_found_with_its_cause(topology: str, plant: str) -> None:
    """Once it is taken away, nothing is found."""
    found = PLANTS[topology][plant]
    with wired(topology) as wires:
        testbed = cast(Any, wires)  # as far as plants of networks use it
        text = filled_in(testbed, found.says)
        soon(lambda: not wires.causes())
        with found.planted(testbed):
            soon(lambda: any(text in cause for cause in wires.causes()))
        soon(lambda: not wires.causes())
