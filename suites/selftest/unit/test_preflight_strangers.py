"""Preflight: a NIC of an existing machine that is not planned, and in the subnet of one that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from harness.preflight import End
from harness.preflight.subnet import stranger_problems
from harness.preflight.wiring import wiring_problems
from harness.topology import Role
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine
from suites.selftest.unit.test_preflight_wiring import ADDRESSES, DEVICES, NAMES, TWO

ADDRESS = ip_address("172.16.0.7")
STRANGER = replace(DEVICES[1], name="eth2", addresses=(ADDRESS,), unusable=())
TAKES_OVER = (
    "eth2 of the initiator has 172.16.0.7, which is in the subnet of network a, and answers ARP "
    "for 172.16.0.101 (link a): what is sent there may arrive at it"
)


def causes(of_all: int = 0, own: int | None = 0, **changed: Any) -> list[str]:
    """With arp_ignore as it is there; None if the NIC was gone when that was read."""
    stranger = replace(STRANGER, **changed)
    settings: Mapping[tuple[str, str], int] = {("all", "arp_ignore"): of_all} | (
        {} if own is None else {(stranger.name, "arp_ignore"): own}
    )
    found = stranger_problems(TWO, NAMES, [*DEVICES, stranger], settings)
    return [problem.cause for problem in found]


def test_a_nic_that_was_not_planned_may_answer_for_one_that_was() -> None:
    """As Linux ships, and with an address in the same subnet."""
    assert causes() == [TAKES_OVER]


@pytest.mark.parametrize("settings", [{"of_all": 1}, {"own": 2}, {"own": None}])
def test_a_nic_that_answers_for_itself_alone_is_no_problem(settings: dict[str, int]) -> None:
    assert causes(**settings) == []


@pytest.mark.parametrize(
    "changed",
    [{"has_carrier": False}, {"name": "lo"}, {"addresses": (ip_address("172.17.0.7"),)}],
)
def test_a_nic_that_nobody_asks_there_is_no_problem(changed: dict[str, Any]) -> None:
    assert causes(**changed) == []


def test_every_device_of_an_existing_machine_is_looked_at() -> None:
    """Its other NICs are not known before; a VM that is made has none."""

    def answer(asked: Asked) -> Answer:
        if asked.argv[0] == "python3":
            return Answer('{"asked": [], "answers": [], "heard": []}')
        shown = ADDRESSES.replace('"172.16.0.101"', '"172.16.0.7"').replace('"eth0"', '"eth2"')
        places = ("all", "eth2") if "conf/*/arp_ignore" in asked.argv[-1] else ()
        settings = (f"/proc/sys/net/ipv4/conf/{place}/arp_ignore:0\n" for place in places)
        return Answer(f"{shown}\n== neighbours\n[]\n== settings\n{''.join(settings)}")

    end = End(Role.INITIATOR, ScriptedMachine(answer), NAMES)
    for guests, told in (((Role.TARGET,), True), (tuple(Role), False)):
        found = wiring_problems(replace(TWO, guests=guests), [end])
        assert (TAKES_OVER in [problem.cause for problem in found]) is told
