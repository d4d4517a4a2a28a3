"""The fleet's file: every mistake is refused with the file, the key and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.config.fleet import FleetConfig, HostConfig, load_fleet
from harness.errors import ConfigError

DOCS = Path(__file__).resolve().parents[3] / "docs"

WHOLE = """
[[hosts]]
address = "tester@lab-1.example:2222"
slots = 4
labels = ["kvm", "bridge:san-a"]
ssh_config = "keys/config"

[[hosts]]
address = "[fe80::1]:22"
name = "six"

[[hosts]]
address = "alias"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "config").touch()
    return tmp_path


def loaded(text: str) -> FleetConfig:
    Path("fleet.toml").write_text(text)
    return load_fleet(Path("fleet.toml"))


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as refusal:
        loaded(text)
    return refusal.value.message


def test_addresses_have_a_user_and_a_port_or_leave_it_to_ssh(folder: Path) -> None:
    """Names may be aliases; an IPv6 address is in brackets."""
    one, six, alias = loaded(WHOLE).hosts
    assert (one.user, one.host_name, one.port) == ("tester", "lab-1.example", 2222)
    assert (six.user, six.host_name, six.port) == (None, "fe80::1", 22)
    assert (alias.user, alias.host_name, alias.port) == (None, "alias", None)
    assert [host.shown_as for host in (one, six, alias)] == ["lab-1.example", "six", "alias"]
    assert (one.slots, alias.slots) == (4, "auto")


def test_a_path_is_relative_to_the_file(folder: Path) -> None:
    """Wherever pytest is started."""
    assert loaded(WHOLE).hosts[0].ssh_config == folder / "keys" / "config"
    text = complaint('[[hosts]]\naddress = "a"\nssh_config = "other"\n')
    assert text == f"fleet.toml: hosts.0.ssh_config: no file {folder / 'other'}"


@pytest.mark.parametrize(
    "address",
    ["", "-oProxyCommand=x", "a b", "user@", "@a", "a:0", "a:65536", "a:b", "a//b", "fe80::1"],
)
def test_what_is_no_address_is_refused(folder: Path, address: str) -> None:
    """None of it may look like an option of ssh, or like a part of execnet's addresses."""
    text = complaint(f'[[hosts]]\naddress = "{address}"\n')
    assert text.startswith(f"fleet.toml: hosts.0.address: {address!r} is not an address; write")


@pytest.mark.parametrize("label", ["", "KVM", "two words", "bridge:", ":a", "a:b:c"])
def test_what_is_no_label_is_refused(folder: Path, label: str) -> None:
    text = complaint(f'[[hosts]]\naddress = "a"\nlabels = ["kvm", "{label}"]\n')
    assert text.startswith(f"fleet.toml: hosts.0.labels.1: {label!r} is not a label; write")


def test_an_unknown_key_is_named_with_those_that_are_allowed(folder: Path) -> None:
    text = complaint('[[hosts]]\naddress = "a"\nlabel = ["kvm"]\n')
    assert text.startswith("fleet.toml: unknown key 'hosts.0.label'; did you mean 'labels'?")
    assert "(allowed: address, name, slots, labels," in text


def test_hosts_are_there_and_differ(folder: Path) -> None:
    assert complaint("") == "fleet.toml: hosts: there are none; add a [[hosts]] with an address"
    twice = '[[hosts]]\naddress = "{}"\n[[hosts]]\naddress = "{}"\n'
    assert "2 have the address 'a'" in complaint(twice.format("a", "a"))
    assert "2 are called 'a'; give each a name" in complaint(twice.format("a:22", "a:23"))


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load_fleet(Path("none.toml"))
    assert complaint("hosts = [").startswith("fleet.toml: not valid TOML:")


def test_every_key_is_documented_with_its_default() -> None:
    text = (DOCS / "fleet.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    assert rows.keys() == HostConfig.model_fields.keys()
    for key, field in HostConfig.model_fields.items():
        says = rows[key].strip().strip("`")
        default = "none" if field.default in (None, "", ()) else str(field.default)
        assert says == ("required" if field.is_required() else default)


def test_the_documented_example_is_valid(folder: Path) -> None:
    text = (DOCS / "fleet.md").read_text()
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(loaded(example).hosts) > 1
