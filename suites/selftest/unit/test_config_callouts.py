"""Callouts in a testbed's file: what they hit, their commands, and each mistake with its cure."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import get_args

import pytest
import tomli_w
from typer.testing import CliRunner

from harness.budget import Effect
from harness.cli.app import app
from harness.config import Config
from harness.config.callouts import CalloutConfig
from harness.provision.snapshot import determinants
from harness.topology import plan
from suites.selftest.unit.config_file import complaint, loaded, network

COMMANDS = 'inject = ["port", "down"]\nheal = ["port", "up"]\n'
CONTROLLERS = '[[controllers]]\nname = "c1"\n[[controllers]]\nname = "c2"\n'
FOUR = "".join(
    network(
        ", ".join(f'{{ address = "10.{n}.0.{c}", controller = "c{c}" }}' for c in (1, 2)),
        f'"10.{n}.0.101"',
        name=name,
        subnet=f"10.{n}.0.0/24",
    )
    for n, name in enumerate("ab", 1)
)
SECOND = '[[initiators]]\nname = "second"\naddresses = { a = "172.16.0.9", b = "172.16.1.9" }\n'


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml."""
    monkeypatch.chdir(tmp_path)


def callout(hits: str = 'links = ["a"]', more: str = "", name: str = "switch") -> str:
    return f'[[callouts]]\nname = "{name}"\n{hits}\n{COMMANDS}{more}\n'


def one(text: str) -> CalloutConfig:
    (found,) = loaded(text).config.callouts
    return found


def test_a_callout_needs_what_it_hits_and_two_commands() -> None:
    """All else has a default."""
    found = one(callout())
    assert (found.hit_by, found.hit, found.effect) == ("links", ("a",), "unreachable")
    assert found.command("inject") == ("port", "down")
    assert not any(found.command(what) for what in ("confirm", "confirm_healed", "count"))
    limits = (found.inject_timeout_s, found.confirm_timeout_s, found.heal_timeout_s)
    assert limits == (30, 30, 60)


def test_its_effects_are_those_that_there_are() -> None:
    """And the same of them go on."""
    for effect in get_args(CalloutConfig.model_fields["effect"].annotation):
        assert one(callout(more=f'effect = "{effect}"')).goes_on is Effect(effect).goes_on
    assert "callout switch, effect: must be 'unreachable'" in complaint(
        callout(more='effect = "dead"')
    )


def test_commands_run_in_the_folder_of_the_file(tmp_path: Path) -> None:
    """Or in one that is relative to it: a script beside the file is found wherever one is."""
    assert one(callout()).folder == tmp_path
    assert one(callout(more='folder = "lab"')).folder == tmp_path / "lab"
    assert one(callout(more='folder = "/opt/lab"')).folder == Path("/opt/lab")
    settings = {setting.key: setting.origin for setting in loaded(callout()).settings()}
    assert settings["callouts.0.folder"] == settings["callouts.0.name"] == "own.toml"
    assert settings["callouts.0.heal_timeout_s"] == "default"


def test_each_of_what_is_listed_is_a_fault_of_its_own() -> None:
    """With what the placeholders of its commands stand for."""
    text = callout(
        'portals = ["a1", "b2"]\neach = true',
        'confirm = ["port", "is-down", "{portal}={portal}", "{name}"]',
        name="port",
    )
    faults = one(CONTROLLERS + FOUR + text).faults()
    assert [fault.name for fault in faults] == ["port-a1", "port-b2"]
    assert [fault.hit for fault in faults] == [("a1",), ("b2",)]
    assert faults[1].command("confirm") == ("port", "is-down", "b2=b2", "port-b2")
    assert faults[1].command("inject") == ("port", "down")


def test_one_callout_may_hit_several_at_once() -> None:
    text = callout('portals = ["a1", "a2"]', 'confirm = ["down", "{portal}"]', name="switch")
    (fault,) = one(CONTROLLERS + FOUR + text).faults()
    assert (fault.name, fault.command("confirm")) == ("switch", ("down", "a1,a2"))


def test_only_placeholders_are_replaced() -> None:
    """Neither variables of a shell nor the braces of JSON, awk and the like."""
    script = 'link=$1; echo "${link} {\\"link\\": {link}}" | awk "{print}"'
    (fault,) = one(callout(more=f"count = ['sh', '-c', '{script}']\neffect = 'degraded'")).faults()
    assert fault.command("count")[2] == script.replace(": {link}", ": a")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (callout('links = ["c"]'), "callout switch, links: there is no link 'c'; there are a, b"),
        (callout('portals = ["c"]'), "callout switch, portals: there is no portal 'c'; there are"),
        (callout('paths = ["c"]'), "callout switch, paths: there is no path 'c'; there are a, b"),
        (
            callout('controllers = ["c1"]'),
            "callout switch, controllers: there is no controller 'c1'; there are none",
        ),
        (callout("links = []"), "callout switch, links: give at least one"),
        (callout('links = ["a", "a"]'), "callout switch, links: 'a' is there twice"),
        (
            callout('links = ["a", "b"]'),
            "callout switch: switch hits every path of initiator; leave one to fail over to",
        ),
        (
            SECOND + callout('links = ["second-a", "second-b"]'),
            "callout switch: switch hits every path of second; leave one to fail over to",
        ),
        (callout(""), "callout switch: it says by nothing what it hits; name that by one of links"),
        (
            callout('links = ["a"]\nportals = ["a"]'),
            "callout switch: it says by links and portals what it hits; name that by one of ",
        ),
        (
            callout() + callout(),
            "callout 1, name: two faults would be named 'switch'; each has a name of its own",
        ),
        (
            callout('links = ["a", "b"]\neach = true') + callout(name="switch-b"),
            "callout switch, name: two faults would be named 'switch-b'",
        ),
        (callout(name="Switch"), "callout 1, name: must match the pattern"),
        (
            callout().replace('["port", "up"]', '"port up"'),
            'callout switch, heal: must be a list: the program and its arguments, such as ["ssh"',
        ),
        (
            callout().replace('["port", "down"]', "[]"),
            "callout switch, inject: names no program; write the program and its arguments",
        ),
        (callout(more='confirm = ["a\\u0000"]'), "callout switch, confirm: has a NUL in it"),
        (callout(more="count = 3"), "callout switch, count: must be a list (got 3)"),
        (callout(more='count = ["a", 3]'), "callout switch, count.1: must be text, in quotes"),
        (
            callout(more='count = ["a"]'),
            "callout switch: count: with effect = 'unreachable' its paths carry nothing, and",
        ),
        (
            callout(more='confirm = ["a", "{portal}"]'),
            "confirm: {portal} stands for nothing, as this callout has links; write {link} or {n",
        ),
        (callout(more="heal_timeout_s = 0"), "callout switch, heal_timeout_s: must be more than 0"),
        (callout(more="inject_timeout_s = 9999"), "inject_timeout_s: must be 3600 or less"),
        (
            callout(more="lasts_s = 300\nheal_timeout_s = 570"),
            "callout switch, heal_timeout_s: its commands may take 900 s in all, and I/O is ended",
        ),
        (
            callout(more='confirm_healed = ["up"]\n[workload]\nlimit_s = 150'),
            "heal_timeout_s: its commands may take 150 s in all",
        ),
        (callout().replace("heal", "mend"), "callout switch, heal: is missing"),
        (callout().replace("heal", "mend"), "callout switch: unknown key 'mend'"),
        ("[callouts]\n", "own.toml: callouts: there may be several, so write [[callouts]] "),
    ],
)
def test_a_mistake_is_named_with_what_to_write(text: str, says: str) -> None:
    assert says in complaint(text)


def test_limits_of_commands_that_it_has_not_do_not_count() -> None:
    assert one(callout(more="lasts_s = 200\n[workload]\nlimit_s = 291")).lasts_s == 200


def test_a_file_of_callouts_is_that_of_a_testbed() -> None:
    """And what `config --toml` prints of it is the same again."""
    config = loaded(callout(more='effect = "degraded"\ncount = ["drops", "{link}"]')).config
    done = CliRunner().invoke(app, ["config", "--testbed", "own.toml", "--toml"])
    assert done.exit_code == 0, done.output
    assert Config.model_validate(tomllib.loads(done.stdout)) == config
    assert tomli_w.dumps(tomllib.loads(done.stdout)) == done.stdout


def test_another_callout_makes_no_other_snapshot() -> None:
    """Nothing of it is in the machines."""
    plain = Config()
    with_one = Config.model_validate(tomllib.loads(callout()))
    assert determinants(plain, {}, "tcg", {}) == determinants(with_one, {}, "tcg", {})


def test_the_names_that_the_configuration_knows_are_those_of_the_topology() -> None:
    """Every part of two initiators, one of which has two NICs on a network."""
    second = SECOND.replace('a = "172.16.0.9"', 'a = ["172.16.0.9", "172.16.0.10"]')
    topology = plan(loaded(second).config)
    for key, names in (
        ("links", [link.name for link in topology.links]),
        ("portals", [portal.name for portal in topology.portals]),
        ("paths", [path.name for path in topology.paths]),
    ):
        listed = ", ".join(dict.fromkeys(names))
        assert f"there are {listed}" in complaint(second + callout(f'{key} = ["nowhere"]'))
    assert "second-a-nic2" in [link.name for link in topology.links]
