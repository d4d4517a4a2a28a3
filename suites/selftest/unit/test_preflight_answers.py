"""Preflight: addresses that two machines have, and networks that are one, as ARP tells."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.config import Config, load
from harness.errors import MachineError
from harness.preflight import End
from harness.preflight import wiring as module
from harness.preflight.answers import (
    Answers,
    answer_problems,
    arp_argv,
    joined_networks,
    parse_answers,
)
from harness.preflight.wiring import wiring_problems
from harness.topology import Role, Topology, plan
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

NAMES = {"a": "eth0", "b": "eth1"}
OF_OTHERS = {"target": {"kind": "external"}, "initiator": {"machine": "local"}}
ASKED = '"asked": [["eth0", "172.16.0.1"], ["eth1", "172.16.1.1"]], '
APART = (
    f'{{{ASKED}"answers": [["eth0", "172.16.0.1", "02:00:00:00:00:01"], '
    '["eth1", "172.16.1.1", "02:00:00:00:00:02"]], "heard": []}\n'
)
TWICE = (
    f'{{{ASKED}"answers": [["eth0", "172.16.0.1", "02:00:00:00:00:01"], '
    '["eth0", "172.16.0.1", "02:00:00:00:00:02"], ["eth1", "172.16.1.1", "02:00:00:00:00:02"]], '
    '"heard": [["eth0", "eth1"], ["eth1", "eth0"]]}\n'
)


def external(name: str) -> Topology:
    """A ready topology as that of an array and an initiator that are there."""
    networks = load(None, {"topology": (name, "--topology")}).config.networks
    return plan(Config.model_validate({**OF_OTHERS, "networks": networks}))


TWO = external("two")


def test_each_portal_on_networks_of_others_is_asked_for() -> None:
    """By the router's address, if one is between; the lab's own cables have no other machine."""
    asked = json.loads(arp_argv(TWO, NAMES)[-1])
    assert asked == [["eth0", "172.16.0.101", "172.16.0.1"], ["eth1", "172.16.1.101", "172.16.1.1"]]
    assert json.loads(arp_argv(external("routed"), NAMES)[-1])[0][2] == "172.16.0.1"
    assert arp_argv(plan(Config()), NAMES) == []
    assert arp_argv(external("ipv6"), NAMES) == []
    bridged = [n.model_copy(update={"bridge": f"br-{n.name}"}) for n in Config().networks]
    assert len(json.loads(arp_argv(plan(Config(networks=tuple(bridged))), NAMES)[-1])) == 2


def test_two_machines_with_the_address_of_a_portal_are_told() -> None:
    assert list(answer_problems(TWO, NAMES, parse_answers(APART))) == []
    (problem,) = answer_problems(TWO, NAMES, parse_answers(TWICE))
    assert problem.cause == (
        "2 NICs answer ARP for 172.16.0.1 on eth0 (link a), the way to portal 172.16.0.1:3260 (a): "
        "02:00:00:00:00:01, 02:00:00:00:00:02"
    )


def test_an_address_of_two_portals_is_told_once() -> None:
    """Where they differ in their ports."""
    place = ("eth0", "172.16.0.1")
    macs = {place: ("02:00:00:00:00:01", "02:00:00:00:00:02")}
    answers = Answers(macs, asked=frozenset({place}))
    assert len(list(answer_problems(external("ports"), NAMES, answers))) == 1


def test_an_address_that_no_machine_has_is_told_if_it_could_be_asked_for() -> None:
    """A NIC that is missing or down is told otherwise."""
    answers = parse_answers(APART.replace('172.16.0.1", "02', '172.16.0.9", "02'))
    (problem,) = answer_problems(TWO, NAMES, answers)
    assert problem.cause == (
        "no machine answers for 172.16.0.1 on eth0 (link a), the way to portal 172.16.0.1:3260 (a)"
    )
    assert list(answer_problems(TWO, NAMES, replace(answers, asked=frozenset()))) == []


def test_all_portals_are_asked_for_if_something_is_not_as_planned() -> None:
    """Also on the lab's own cables: a machine may have lost its address."""
    asked = json.loads(arp_argv(plan(Config()), NAMES, in_doubt=True)[-1])
    assert asked == [["eth0", "172.16.0.101", "172.16.0.1"], ["eth1", "172.16.1.101", "172.16.1.1"]]
    assert arp_argv(external("ipv6"), NAMES, in_doubt=True) == []


def test_networks_of_which_one_hears_the_other_are_told_once() -> None:
    """Two NICs on one network hear each other anyway."""
    assert list(joined_networks(TWO, NAMES, parse_answers(APART))) == []
    (text,) = joined_networks(TWO, NAMES, parse_answers(TWICE))
    assert text.startswith(
        "networks a and b are one layer-2 network: what is sent on eth0 arrives on eth1."
    )
    topology = plan(load(None, {"topology": ("one-subnet", "--topology")}).config)
    nics = {"a-nic1": "eth0", "a-nic2": "eth1"}
    assert list(joined_networks(topology, nics, parse_answers(TWICE))) == []


@pytest.mark.parametrize("text", ["", "[]", '{"answers": [["eth0"]], "heard": []}', "{}"])
def test_what_are_no_answers_is_an_error(text: str) -> None:
    with pytest.raises(MachineError, match="not answers to ARP"):
        parse_answers(text)


def test_the_preflight_asks_and_says_what_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is there twice ends the run; networks that are one do not."""
    warnings: list[str] = []
    monkeypatch.setattr(module, "warn", warnings.append)
    ways = "[]\n== neighbours\n[]\n== settings\n"

    def answer(asked: Asked) -> Answer:
        return Answer(TWICE if asked.argv[0] == "python3" else ways)

    end: Any = End(Role.INITIATOR, ScriptedMachine(answer), NAMES)
    causes = [problem.cause for problem in wiring_problems(TWO, [end])]
    assert [cause.partition(" on ")[0] for cause in causes if "ARP" in cause] == [
        "2 NICs answer ARP for 172.16.0.1"
    ]
    assert len(warnings) == 1
