"""`pathproof ps`, `down` and `ssh`: which testbed is meant, what it is, how to get in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import ssh
from harness.cli.app import app
from harness.cli.lab import earlier_testbeds
from harness.cli.testbeds import State, choose, state_of
from harness.config import Config
from harness.errors import ConfigError
from harness.host.folder import Address, Folder, Manifest, claimed
from harness.topology import plan

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAqpJ8i1BVV+3lpSzOzyYnKm9jDo4QLxxSgZ9zSLYoL2"
ADDRESSES = {
    "target": Address(1, "/cache/id_ed25519", HOST_KEY),
    "initiator": Address(2, "/cache/id_ed25519", HOST_KEY),
}


TUNNEL = ("ssh", "-i/a b", "-W", "127.0.0.1:2", "me%you@rack1")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("PATHPROOF_STATE", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder.mkdir()
    return folder


@pytest.fixture
def make(state: Path) -> Callable[..., Folder]:
    """Makes the folder of a testbed whose owner is gone."""

    def made(name: str, *, kept: bool) -> Folder:
        folder = Folder(state / name)
        folder.path.mkdir()
        (folder.path / "lock").touch()
        networks = {"a": "172.16.0.1 - 172.16.0.101"}
        folder.write(
            Manifest(name, "embedded", kept, ADDRESSES, networks=networks, memory=3 * 2**29)
        )
        return folder

    return made


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, args)
    return result.exit_code, result.output


def test_the_manifest_survives_being_written_and_read(make: Callable[..., Folder]) -> None:
    folder = make("one-1", kept=True)
    manifest = folder.manifest()
    assert manifest is not None
    assert manifest.machines == ADDRESSES
    tunnelled = replace(manifest, machines={"target": Address(1, "/key", HOST_KEY, TUNNEL)})
    folder.write(tunnelled)
    assert folder.manifest() == tunnelled
    assert manifest.networks == {"a": "172.16.0.1 - 172.16.0.101"}


def test_a_manifest_without_later_additions_is_understood(make: Callable[..., Folder]) -> None:
    """A testbed kept by an earlier version can still be taken down."""
    folder = make("one-1", kept=True)
    file = folder.path / "testbed.json"
    raw = json.loads(file.read_text())
    del raw["networks"], raw["memory"]
    for machine in raw["machines"].values():
        del machine["proxy"]
    file.write_text(json.dumps(raw))
    assert folder.manifest() is not None


def test_a_kept_testbed_on_another_host_is_not_told_as_ended(make: Callable[..., Folder]) -> None:
    """Its ports are not of this host."""
    folder = make("one-1", kept=True)
    manifest = folder.manifest()
    assert manifest is not None
    assert state_of(folder) is State.ENDED
    address = Address(2, "/key", HOST_KEY, TUNNEL)
    folder.write(replace(manifest, machines={"initiator": address}))
    assert state_of(folder) is State.KEPT


def test_ps_tells_the_states_apart(make: Callable[..., Folder], state: Path) -> None:
    """Nothing listens on these ports, so the kept one has ended."""
    make("kept-1", kept=True)
    make("left-2", kept=False)
    with claimed("mine") as mine:
        assert state_of(mine) is State.IN_USE
        text = run("ps")[1]
    assert re.search(r"^kept-1 +kept, ended +\d+ s +1\.5 GiB +a 172", text, re.MULTILINE)
    assert re.search(r"^left-2 +left behind", text, re.MULTILINE)
    assert re.search(rf"^{mine.name} +in use +\d+ s +- ", text, re.MULTILINE)


def test_ps_of_nothing_says_so(state: Path) -> None:
    assert run("ps") == (0, "no testbeds\n")


def test_a_name_may_be_cut_short_and_left_out(make: Callable[..., Folder]) -> None:
    """It is enough if it means one testbed only."""
    one, other = make("one-1", kept=True), make("one-12", kept=True)
    assert choose("one-1", [one, other]) == one
    assert choose("on", [one]) == one
    assert choose(None, [one]) == one
    for name in (None, "on", "two"):
        with pytest.raises(ConfigError, match="one-1, one-12"):
            choose(name, [one, other])
    with pytest.raises(ConfigError, match="there is no testbed"):
        choose(None, [])


def test_down_removes_what_is_kept_or_left_behind(make: Callable[..., Folder], state: Path) -> None:
    make("kept-1", kept=True)
    make("left-2", kept=False)
    status, text = run("down")
    assert (status, "say which" in text) == (2, True)
    assert run("-q", "down", "left") == (0, "")
    assert run("-q", "down", "--all") == (0, "")
    assert list(state.iterdir()) == []
    assert run("down") == (0, "nothing to end\n")


def test_down_leaves_alone_what_is_in_use(state: Path) -> None:
    """Its owner would fall over it."""
    with claimed("mine") as mine:
        assert "in use" in run("down", mine.name)[1]
        assert run("down") == (0, "nothing to end\n")
        assert mine.path.exists()


def test_reap_spares_what_was_kept_and_says_so(make: Callable[..., Folder], state: Path) -> None:
    kept = make("kept-1", kept=True)
    make("left-2", kept=False)
    status, text = run("-q", "ps")
    assert (status, "left behind" in text) == (0, True)
    status, text = run("reap")
    assert status == 0
    assert text.splitlines()[-2:] == [
        "left-2 is gone",
        "kept-1 was kept and stays; `pathproof down kept-1` removes it",
    ]
    assert list(state.iterdir()) == [kept.path]
    assert "nothing was left behind" in run("reap")[1]
    assert run("-q", "reap", "--kept") == (0, "")
    assert list(state.iterdir()) == []


def test_reap_of_one_leaves_the_others(make: Callable[..., Folder], state: Path) -> None:
    make("left-1", kept=False)
    other = make("left-2", kept=False)
    assert "left-1 is gone" in run("reap", "left-1")[1]
    assert list(state.iterdir()) == [other.path]
    with claimed("mine") as mine:
        assert "in use" in run("reap", "mine")[1]
        assert mine.path.exists()


def test_reap_removes_what_killed_runs_were_making(state: Path, tmp_path: Path) -> None:
    for kind in ("images", "snapshots"):
        (tmp_path / "pathproof/building" / kind / "key-x").mkdir(parents=True)
    assert run("reap")[1].count("is gone") == 2
    assert list(tmp_path.glob("pathproof/building/*/*")) == []


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        (["initiator"], (None, "initiator", ())),
        (["one", "target"], ("one", "target", ())),
        (["one", "second", "true"], ("one", "second", ("true",))),
        (["initiator", "--", "multipath", "-ll"], (None, "initiator", ("multipath", "-ll"))),
        (["one", "target", "uname", "--", "x"], ("one", "target", ("uname", "--", "x"))),
    ],
)
def test_words_of_ssh(words: list[str], meaning: tuple[str | None, str, tuple[str, ...]]) -> None:
    assert ssh.parse(words) == meaning


@pytest.mark.parametrize("words", [[], ["one"], ["one", "--", "true"]])
def test_ssh_wants_to_know_which_machine(words: list[str]) -> None:
    with pytest.raises(
        typer.BadParameter, match="target, initiator, or, after the name of a testbed"
    ):
        ssh.parse(words)


def test_one_word_is_a_script_and_several_arrive_as_they_are() -> None:
    address = ADDRESSES["initiator"]
    known_hosts = Path("/state/one/known_hosts")
    assert ssh.argv(address, known_hosts, ["ls | wc"])[-1] == "ls | wc"
    assert ssh.argv(address, known_hosts, ["echo", "a  b", "$HOME"])[-1] == "echo 'a  b' '$HOME'"
    assert ssh.argv(address, known_hosts)[-1] == "root@127.0.0.1"


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client")
def test_openssh_understands_the_settings(tmp_path: Path) -> None:
    """`ssh -G` prints what it would do; the folder's name may hold a space."""
    known_hosts = tmp_path / "a b" / "known_hosts"
    argv = ssh.argv(ADDRESSES["initiator"], known_hosts)
    done = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True)
    settings = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert settings["stricthostkeychecking"] in {"true", "yes"}
    assert settings["userknownhostsfile"].strip('"') == str(known_hosts)
    assert settings["globalknownhostsfile"] == "/dev/null"
    assert settings["identitiesonly"] == "yes"
    assert settings["identityfile"].strip('"') == "/cache/id_ed25519"
    assert settings["port"] == "2"


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client")
def test_openssh_goes_through_the_tunnel_word_for_word(tmp_path: Path) -> None:
    """It hands the command to a shell, after it replaced what begins with %."""
    said = tmp_path / "said"
    listener = ("sh", "-c", 'printf "%s\\n" "$@" > "$0"; exit 1', str(said), "100%", "%h", "a  b")
    argv = ssh.argv(Address(2, "/key", HOST_KEY, listener), tmp_path / "known_hosts", ["true"])
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 255
    assert said.read_text().splitlines() == ["100%", "%h", "a  b"]


def test_ssh_pins_the_host_key_and_becomes_the_client(
    make: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[list[str]] = []
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/ssh")
    monkeypatch.setattr(os, "execv", lambda _, argv: executed.append(argv))
    folder = make("one-1", kept=True)
    assert run("ssh", "initiator", "--", "multipath", "-ll")[0] == 0
    assert executed[0][-1] == "multipath -ll"
    known = (folder.path / "known_hosts").read_text()
    assert f"[127.0.0.1]:2 {HOST_KEY}\n" in known


def test_without_the_client_ssh_names_the_package(
    make: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("one-1", kept=True)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    status, text = run("ssh", "initiator")
    assert (status, "openssh-client" in text) == (2, True)


def test_a_testbed_that_cannot_be_read_is_listed_and_left_alone(
    make: Callable[..., Folder],
) -> None:
    """Nothing tells whether its machines are on this host."""
    folder = make("one-1", kept=True)
    (folder.path / "testbed.json").write_text("{")
    assert state_of(folder) is State.UNREADABLE
    status, output = run("ps")
    assert status == 0
    assert "cannot be read" in output
    for command in (["down", "one-1"], ["reap"], ["down", "--all"]):
        status, output = run(*command)
        assert status == 2
        assert "it is unknown where its machines run" in output
    assert folder.path.exists()
    (finding,) = earlier_testbeds()
    assert finding.text == "one-1: cannot be read"


@pytest.mark.parametrize(
    ("topology", "maps"),
    [
        ("two", ["the map is /dev/mapper/0"]),
        ("luns", [f"the map of lun{n} is /dev/mapper/{n}" for n in range(4)]),
    ],
)
def test_up_names_every_map(
    monkeypatch: pytest.MonkeyPatch, topology: str, maps: list[str]
) -> None:
    """Of several each with its LUN."""

    def made(config: Config) -> Any:
        planned = plan(config)
        bed = SimpleNamespace(
            topology=planned,
            maps=[
                SimpleNamespace(lun=lun, device=f"/dev/mapper/{n}")
                for n, lun in enumerate(planned.luns)
            ],
        )
        bed.map = bed.maps[0]
        folder = SimpleNamespace(folder=SimpleNamespace(name="bed"))
        lab = SimpleNamespace(testbed=lambda: nullcontext(bed), keep=lambda: None, resources=folder)
        return nullcontext(lab)

    monkeypatch.setattr("harness.provision.provisioner.provisioner", made)
    status, output = run("up", "--topology", topology)
    assert status == 0, output
    assert re.findall(r"the map .*", output) == maps
