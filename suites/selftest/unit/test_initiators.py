"""Several initiators: what the configuration takes, and what the topology makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config import Config
from harness.config.load import load
from harness.config.ready import ready_topologies
from harness.errors import ConfigError
from harness.topology import Role, Topology, called, plan

SECOND = """
[[initiators]]
name = "second"
addresses = { a = "172.16.0.102", b = "172.16.1.102" }
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml."""
    monkeypatch.chdir(tmp_path)


def configured(text: str) -> Config:
    file = Path("own.toml")
    file.write_text(text)
    return load(file).config


def two() -> Topology:
    return plan(Config.model_validate(ready_topologies()["two-initiators"]))


def test_one_initiator_is_all_there_is() -> None:
    """What it has is the whole topology."""
    topology = plan(Config())
    assert topology.of(Role.INITIATOR) is topology
    assert topology.guests == tuple(Role)
    assert [one.name for one in topology.maps] == ["lun0"]


def test_a_further_initiator_has_links_paths_and_luns_of_its_own() -> None:
    """By names that no other has; those of the first stay as they are with one initiator."""
    whole = two()
    first, second = whole.of("initiator"), whole.of("second")
    assert whole.guests == ("target", "initiator", "second")
    assert second.guests == ("target", "second")
    assert [link.name for link in first.links] == ["a", "b"]
    assert [path.name for path in first.paths] == ["a", "b"]
    assert [link.name for link in second.links] == ["second-a", "second-b"]
    assert [path.name for path in second.paths] == ["second-a", "second-b"]
    assert [lun.name for lun in first.luns] == ["lun0", "lun2"]
    assert [lun.name for lun in second.luns] == ["lun1", "lun2"]
    assert second.initiator_iqn == f"{first.initiator_iqn}-second"
    assert [cable.name for cable in second.cables] == ["second-a", "second-b"]
    assert second.over_portal("a") == ("second-a",)
    assert whole.over_portal("a") == ("a", "second-a")


def test_a_map_is_named_after_its_machine_where_there_are_several() -> None:
    """One common LUN is two maps."""
    maps = two().maps
    names = ["initiator/lun0", "initiator/lun2", "second/lun1", "second/lun2"]
    assert [one.name for one in maps] == names
    assert [one.read_only for one in maps] == [False, False, False, True]


def test_the_target_has_the_end_of_every_cable() -> None:
    """All of one network are ports of its bridge, as behind a switch; seen from any initiator."""
    whole = two()
    names = {"a", "second-a", "b", "second-b"}
    for topology in (whole, whole.of("second")):
        nics = topology.nics(Role.TARGET)
        assert {nic.name for nic in nics} == names
        assert {nic.bridge for nic in nics} == {"br-a", "br-b"}
    macs = [nic.mac for one in whole.machines for nic in whole.nics(one.name)]
    assert len(set(macs)) == len(macs) == 8


def test_several_nics_of_a_further_initiator_have_interfaces_on_it_alone() -> None:
    """The first one has one NIC there, and open-iscsi need not be told."""
    topology = plan(
        configured(
            '[[initiators]]\nname = "second"\n'
            'addresses = { a = ["172.16.0.102", "172.16.0.103"], b = "172.16.1.102" }\n'
        )
    )
    assert {link.name: link.iface for link in topology.links} == {
        "a": "",
        "second-a-nic1": "pathproof-a-nic1",
        "second-a-nic2": "pathproof-a-nic2",
        "b": "",
        "second-b": "default",
    }
    paths = ["second-a-nic1", "second-a-nic2", "second-b"]
    assert [path.name for path in topology.of("second").paths] == paths


def test_a_lun_that_says_nothing_is_for_every_initiator() -> None:
    """Each writes in a part of its own."""
    (first, second) = plan(configured(SECOND)).maps
    assert [first.lun, second.lun] == [first.lun] * 2
    assert (first.part, second.part) == (0, 1)
    assert first.lun.writers == ("initiator", "second")


def test_machines_are_called_by_role_or_by_name() -> None:
    assert [called(one.name) for one in two().machines] == [
        "the target",
        "the initiator",
        "initiator second",
    ]


LUN = '[[luns]]\nsize = "256MiB"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            SECOND + '[initiator]\nmachine = "local"\n[target]\nkind = "external"\n',
            "initiators: initiator.machine is 'local', and several initiators are VMs",
        ),
        (
            SECOND + '[target]\nkind = "external"\n',
            "initiators: the target is external, and Pathproof masks no LUNs there",
        ),
        (SECOND.replace("second", "target"), "initiator target, name: another machine is named"),
        (SECOND + SECOND, "initiator 1, name: another machine is named 'second'"),
        (SECOND.replace("second", "se-cond"), "initiator se-cond, name: must match the pattern"),
        (
            SECOND + 'iqn = "iqn.2026-01.io.pathproof:initiator"\n',
            "initiator second, iqn: two initiators have it",
        ),
        (
            '[target]\nkind = "tgt"\n' + SECOND + 'iqn = "iqn.2026-01.io.pathproof:Initiator"\n',
            "initiator second, iqn: two initiators have it, as capitals do not count in it",
        ),
        (
            SECOND + 'iqn = "nonsense"\n',
            "initiator second, iqn: 'nonsense' does not begin",
        ),
        (
            SECOND.replace("172.16.0.102", "172.16.0.255"),
            "initiator second, addresses.a: 172.16.0.255 is the broadcast address of",
        ),
        (
            SECOND.replace(", b =", ", c ="),
            "initiator second, addresses.c: there is no such",
        ),
        (
            SECOND.replace(', b = "172.16.1.102"', ""),
            "initiator second, addresses: network b is missing; each initiator is on every network",
        ),
        (SECOND.replace("172.16.0.102", "172.16.0.101"), "172.16.0.101 is there twice"),
        (SECOND.replace("172.16.0.102", "172.16.0.1"), "172.16.0.1 is there twice"),
        (SECOND.replace("172.16.0.102", "172.16.9.102"), "is not in 172.16.0.0/24"),
        (SECOND + LUN + 'initiators = ["third"]\n', "luns.0.initiators: third is no initiator"),
        (
            SECOND + LUN + 'initiators = ["second", "initiator", "second"]\n',
            "luns.0.initiators: second is there twice",
        ),
        (
            SECOND + LUN + 'read_only = ["second", "second"]\n',
            "luns.0.read_only: second is there twice",
        ),
        (SECOND + LUN + 'initiators = ["second"]\n', "luns: initiator would see no LUN"),
        (
            SECOND + LUN + 'initiators = ["initiator"]\nread_only = ["second"]\n',
            "luns.0.read_only: second is none of the LUN's initiators",
        ),
        (
            SECOND + LUN + 'read_only = ["initiator", "second"]\n',
            "luns.0.read_only: an initiator is needed that writes",
        ),
        (
            SECOND + LUN + 'read_only = ["second"]\n[target]\nkind = "tgt"\n',
            "luns.0.read_only: a target of kind 'tgt' shows every LUN to every initiator alike",
        ),
        (
            SECOND + LUN + LUN + 'initiators = ["second"]\n[target]\nkind = "iet"\n',
            "luns.1.initiators: a target of kind 'iet' shows every LUN to every initiator alike",
        ),
        (
            SECOND + '[workload]\nregion = "16MiB"\nblock_size = "4MiB"\n',
            "workload.region: 2 initiators write to LUN 0",
        ),
        (
            SECOND + '[target]\nkind = "iet"\n[target.iet]\nmax_sessions = 3\n',
            "target.iet.max_sessions: 3 is less than the 4 paths",
        ),
        (
            'topology = "two-initiators"\n' + SECOND,
            "topology: 'two-initiators' has its own initiators; give one or the other",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(text)
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("name", "says"),
    [("x-a", "networks: a and x-a would both have a link named x-a;"), ("x-b", ""), ("x", "")],
)
def test_a_name_is_refused_if_two_links_would_have_it(name: str, says: str) -> None:
    """Names of links tell cables and paths apart; one that begins as another does is fine."""
    networks: list[dict[str, Any]] = [
        {
            "name": name,
            "subnet": f"172.16.{number}.0/24",
            "portals": [f"172.16.{number}.1"],
            "initiator": f"172.16.{number}.101",
        }
        for number, name in enumerate(("a", name))
    ]
    more = {"name": "x", "addresses": {"a": "172.16.0.102", name: "172.16.1.102"}}
    config = {"networks": networks, "initiators": [more]}
    if says:
        with pytest.raises(ValueError, match=says):
            Config.model_validate(config)
    else:
        links = [link.name for link in plan(Config.model_validate(config)).links]
        assert sorted(links) == sorted({"a", name, "x-a", f"x-{name}"})


@pytest.mark.parametrize(
    ("portals", "own", "second", "name", "says"),
    [
        (1, (2, 1), (1, 1), "a-nic1", "link named a-nic1"),
        (1, (1, 1), (2, 1), "a-nic1", "link named second-a-nic1"),
        (2, (2, 1), (1, 1), "a-nic", "path named a-nic1"),
        (2, (1, 1), (2, 1), "a-nic", "path named second-a-nic1"),
        (2, (1, 1), (1, 1), "a-nic", ""),
    ],
)
def test_names_of_links_and_paths_are_compared_over_every_initiator(
    portals: int, own: tuple[int, int], second: tuple[int, int], name: str, says: str
) -> None:
    """`own` and `second` are how many addresses each has on both networks."""

    def addresses(number: int, first: int, count: int) -> list[str]:
        return [f"172.16.{number}.{first + n}" for n in range(count)]

    names = ("a", name)
    config = {
        "networks": [
            {
                "name": one,
                "subnet": f"172.16.{number}.0/24",
                "portals": addresses(number, 1, portals if number else 1),
                "initiator": addresses(number, 101, own[number]),
            }
            for number, one in enumerate(names)
        ],
        "initiators": [
            {
                "name": "second",
                "addresses": {one: addresses(n, 111, second[n]) for n, one in enumerate(names)},
            }
        ],
    }
    if says:
        with pytest.raises(ValueError, match=f"networks: a and {name} would both have a {says};"):
            Config.model_validate(config)
        return
    topology = plan(Config.model_validate(config))
    for every in (topology.links, topology.paths):
        assert len({one.name for one in every}) == len(every)


@pytest.mark.parametrize(("addresses", "paths"), [(1, 1), (2, 2)])
def test_each_initiator_has_two_paths(addresses: int, paths: int) -> None:
    """One that has a single path has none to fail over to."""
    network = {
        "name": "a",
        "subnet": "172.16.0.0/24",
        "portals": ["172.16.0.1"],
        "initiator": ["172.16.0.101", "172.16.0.102"],
    }
    there = [f"172.16.0.{111 + n}" for n in range(addresses)]
    config = {"networks": [network], "initiators": [{"name": "x", "addresses": {"a": there}}]}
    if paths < 2:
        with pytest.raises(
            ValueError, match=r"initiators\.0\.addresses: at least two paths are needed"
        ):
            Config.model_validate(config)
    else:
        assert len(plan(Config.model_validate(config)).of("x").paths) == paths


def test_others_use_no_network_of_several_initiators() -> None:
    networks = [
        network.model_dump() | {"bridge": f"br-{network.name}"} for network in Config().networks
    ]
    more = {"name": "second", "addresses": {"a": "172.16.0.102", "b": "172.16.1.102"}}
    with pytest.raises(ValueError, match=r"networks\.0: .* br-a, .* the lab's own cables"):
        Config.model_validate({"networks": networks, "initiators": [more]})


def test_there_are_four_initiators_at_most() -> None:
    """Each is a machine, which wants memory and a processor."""
    more = [
        {"name": f"i{n}", "addresses": {"a": f"172.16.0.{n}", "b": f"172.16.1.{n}"}}
        for n in range(102, 106)
    ]
    Config.model_validate({"initiators": more[:3]})
    with pytest.raises(ValueError, match="there are 4; 3 beside"):
        Config.model_validate({"initiators": more})


def test_the_target_has_room_for_every_cable() -> None:
    """Twelve NICs in a VM."""
    six = [f"172.16.0.{100 + n}" for n in range(6)]
    more = {"name": "second", "addresses": {"a": six, "b": "172.16.1.102"}}
    networks = [network.model_dump() for network in Config().networks]
    networks[0]["initiator"] = [f"172.16.0.{110 + n}" for n in range(5)]
    with pytest.raises(ValueError, match="initiators together have 13 addresses"):
        Config.model_validate({"networks": networks, "initiators": [more]})
