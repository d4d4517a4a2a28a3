"""Controllers, and the topologies that are ready."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.config import Config, load
from harness.config.networks import default_networks
from harness.config.ready import ready_topologies
from harness.topology import plan
from suites.selftest.unit.config_file import OTHER, complaint, loaded, network, refusal

READY = (
    *("active-passive", "eight", "four", "ipv6", "jumbo", "luns", "one-subnet", "ports", "routed"),
    *("two", "two-controllers", "two-initiators", "two-targets", "vlan"),
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml."""
    monkeypatch.chdir(tmp_path)


CONTROLLERS = '[[controllers]]\nname = "c1"\n[[controllers]]\nname = "c2"\n'


def with_controllers(first: str, second: str, controllers: str = CONTROLLERS) -> str:
    """Two portals on one network, each with the controller of that name, or none."""
    tables = [
        f'{{ address = "10.1.0.{number}"' + (f', controller = "{name}"' if name else "") + " }"
        for number, name in ((1, first), (2, second))
    ]
    return network(", ".join(tables)) + controllers


def test_every_portal_has_its_controller() -> None:
    """Or none has one, where there are none."""
    topology = plan(loaded(with_controllers("c1", "c2")).config)
    assert [portal.controller for portal in topology.portals] == ["c1", "c2"]
    assert [one.name for one in topology.controllers] == ["c1", "c2"]
    none = plan(loaded(with_controllers("", "", "")).config)
    assert {portal.controller for portal in none.portals} == {""}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            with_controllers("c1", "c3"),
            "network a, portal 2, controller: 'c3' is none of [[controllers]]; there are c1, c2",
        ),
        (
            with_controllers("c1", "c2", ""),
            "network a, portal 1, controller: 'c1' is none of [[controllers]]; there are none",
        ),
        (
            with_controllers("c1", ""),
            (
                "network a, portal 2, controller: is missing; with [[controllers]] every portal "
                "has one"
            ),
        ),
        (with_controllers("c1", "c1"), "controllers: c2 has no portal"),
        (
            with_controllers("c1", "c1", CONTROLLERS.replace("c2", "c1")),
            "controllers: two have one name: c1, c1",
        ),
    ],
    ids=["unknown", "no controllers", "missing", "idle", "twice"],
)
def test_controllers_and_portals_must_fit(text: str, says: str) -> None:
    """A fault of a controller hits just its portals."""
    assert complaint(text) == f"own.toml: {says}"


def test_an_access_state_that_is_none_is_refused() -> None:
    """With those that there are."""
    states = CONTROLLERS + 'access_state = "standby"\n'
    text = complaint(with_controllers("c1", "c2", states))
    assert text.startswith("own.toml: controller c2, access_state: ")
    assert "'optimized' or 'non-optimized'" in text


def test_the_ready_topologies_are_known() -> None:
    """By the names of their files."""
    assert tuple(ready_topologies()) == READY


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("active-passive", "a b"),
        ("eight", "a1 a2 a3 a4 b1 b2 b3 b4"),
        ("four", "a1 a2 b1 b2"),
        ("ipv6", "a b"),
        ("jumbo", "a b"),
        ("luns", "a b"),
        ("ports", "a1 a2 b1 b2"),
        ("routed", "a b"),
        ("two-initiators", "a second-a b second-b"),
        ("vlan", "a b"),
        ("one-subnet", "a-nic1 a-nic2"),
        ("two", "a b"),
        ("two-controllers", "a1 a2 b1 b2"),
        ("two-targets", "a b"),
    ],
)
def test_a_ready_topology_has_its_paths(name: str, paths: str) -> None:
    """In a file or as an option, it is the same."""
    by_option = load(None, {"topology": (name, "--topology")}).config
    assert [path.name for path in plan(by_option).paths] == paths.split()
    assert loaded(f'topology = "{name}"').config == by_option
    assert by_option.topology == name


def test_the_topology_that_is_built_in_is_ready_too() -> None:
    """The same networks, whether it is named or not."""
    assert loaded('topology = "two"').config.networks == default_networks() == Config().networks


def test_values_of_a_ready_topology_have_it_as_their_origin() -> None:
    """What the file or an option says comes before it."""
    text = 'topology = "active-passive"\ntarget.port = 4000\n'
    result = loaded(text)
    origins = {setting.key: (setting.value, setting.origin) for setting in result.settings()}
    assert origins["initiator.path_grouping_policy"] == ("failover", "topology active-passive")
    assert origins["topology"] == ("active-passive", "own.toml")
    assert origins["target.port"] == (4000, "own.toml")
    assert origins["initiator.profile"] == ("fast", "default")
    assert origins["networks.0.name"][1] == "topology active-passive"
    own = loaded(text + 'initiator.path_grouping_policy = "multibus"\n')
    (policy,) = [s for s in own.settings() if s.key == "initiator.path_grouping_policy"]
    assert (policy.value, policy.origin) == ("multibus", "own.toml")
    assert own.config.networks == result.config.networks


@pytest.mark.parametrize(
    ("beside", "given"),
    [
        (network('"10.1.0.1"') + OTHER, "networks"),
        (CONTROLLERS, "controllers"),
        (with_controllers("c1", "c2"), "networks and controllers"),
    ],
)
def test_a_ready_topology_is_not_mixed_with_ones_own(beside: str, given: str) -> None:
    """The hint tells how to change one."""
    error = refusal(f'topology = "four"\n{beside}')
    assert error.message == (
        f"own.toml: topology: 'four' has its own {given}; give one or the other"
    )
    command = re.findall("`pathproof (.*)`", error.hint)
    Path("pathproof.toml").write_text(f'topology = "four"\n{beside}')
    shown = CliRunner().invoke(app, command[0].split())
    assert (shown.exit_code, shown.output.count("[[networks]]")) == (0, 2), shown.output
    by_option = refusal(beside, topology=("four", "--topology"))
    assert by_option.message.startswith("--topology: topology: 'four' has its own")


def test_an_unknown_topology_is_refused_with_those_that_there_are() -> None:
    """Whether it came from a file or an option."""
    known = ", ".join(READY)
    assert complaint('topology = "six"') == f"own.toml: topology: 'six' is none of {known}"
    by_option = complaint("", topology=("six", "--topology"))
    assert by_option == f"--topology: 'six' is none of {known}"


@pytest.mark.parametrize("value", ["3", "[]", '["four"]', "{}", "true", '""'])
def test_what_is_no_name_of_a_topology_is_a_mistake_and_no_traceback(value: str) -> None:
    assert complaint(f"topology = {value}").startswith("own.toml: topology: ")


def test_a_table_that_is_none_beside_a_topology_is_a_mistake_and_no_traceback() -> None:
    """The topology has a value in it."""
    assert complaint('topology = "active-passive"\ninitiator = 3').startswith(
        "own.toml: initiator: "
    )


def test_a_configuration_of_any_topology_can_be_written_out_and_read_again() -> None:
    """As a fleet sends it to its hosts."""
    for name in READY:
        config = load(None, {"topology": (name, "--topology")}).config
        assert Config.model_validate_json(config.model_dump_json()) == config
