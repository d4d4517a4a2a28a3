"""Connections that the target's kernel ends."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import cast

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import FaultError, LabCannot
from harness.faults import ConnectionsKilled, Lab
from harness.faults.cut_connections import connections_of
from harness.topology import Topology, plan
from suites.selftest.means import means_of
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

TWO = plan(Config())
FAULT = ConnectionsKilled("a")
LOG = "/run/pathproof-killed-a"


class Target(ScriptedMachine):
    """Ends two connections each time, if its kernel can, and counts them."""

    def __init__(self, *, ends: bool = True) -> None:
        super().__init__(self._answered)
        self.ends = ends
        self.killed: int | None = None

    def _answered(self, asked: Asked) -> Answer:
        script = asked.argv[-1]
        if f"rm -f {LOG}" in script:
            self.killed = None
            return Answer()
        if "--kill" in script:
            self.killed = (self.killed or 0) + 2 * self.ends
            return Answer(f"2\n{self.killed}\n")
        return Answer("" if self.killed is None else f"{self.killed}\n")


def lab(target: ScriptedMachine, topology: Topology = TWO) -> Lab:
    def machine(name: str) -> ScriptedMachine:
        assert name == "target"
        return target

    return cast(Lab, SimpleNamespace(topology=topology, machine=machine))


def test_the_targets_end_of_each_connection_to_a_portal_is_asked_for() -> None:
    """In the words of ss(8)."""
    assert connections_of(TWO.portals[0].portal) == (
        "ss -tnHO state established src 172.16.0.1:3260"
    )
    ipv6 = plan(Config.model_validate(ready_topologies()["ipv6"])).portals[0].portal
    assert connections_of(ipv6).endswith(f" src '[{ipv6.address}]:3260'")


def test_connections_are_ended_again_and_again() -> None:
    """What was ended is counted: else nothing would show it."""
    target = Target()
    here = lab(target)
    FAULT.inject(here)
    FAULT.confirm(here)
    assert means_of(FAULT, here)[FAULT.name].count == 2
    rounds = iter([False, False, True])
    over = SimpleNamespace(wait=lambda _: next(rounds))
    FAULT.go_on(here, cast(threading.Event, over))
    seen = means_of(FAULT, here)[FAULT.name]
    assert (seen.missing, seen.count, seen.grows) == ("", 6, True)
    with pytest.raises(FaultError, match="is not healed"):
        FAULT.confirm_healed(here)
    FAULT.heal(here)
    FAULT.confirm_healed(here)
    assert means_of(FAULT, here)[FAULT.name].missing == f"{LOG} of the target is gone"


def test_one_that_was_not_there_at_once_is_ended_when_it_is() -> None:
    target = Target(ends=False)
    target.killed = 0
    looks: list[str] = []

    def answer(asked: Asked) -> Answer:
        looks.append(asked.argv[-1])
        target.ends = len(looks) > 2
        return target._answered(asked)

    FAULT.confirm(lab(ScriptedMachine(answer)))
    assert target.killed == 2


def test_a_kernel_that_ends_none_skips_the_test() -> None:
    """And nothing of it is left."""
    target = Target(ends=False)
    with pytest.raises(LabCannot, match="CONFIG_INET_DIAG_DESTROY"):
        FAULT.inject(lab(target))
    assert target.killed is None


def test_it_lasts_some_rounds() -> None:
    assert FAULT.lasts_s > 2 * FAULT.every_s
    assert FAULT.hits(TWO) == ("a",)
