"""Which bridge a libvirt network is, and two networks that name one bridge in different ways.

By libvirt's own test driver, which has one network: `default`, on the bridge `virbr0`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import lab
from harness.cli.diagnosis import Diagnosis, Level
from harness.config import Config
from harness.errors import ConfigError
from harness.host import sharing
from harness.host.qemu_host import OwnQemuHost
from harness.hypervisor.accel import Choice
from harness.hypervisor.connection import Connection, connect
from harness.hypervisor.networks import bridges_of, require_apart
from harness.provision import prepare
from harness.provision import provisioner as provision
from harness.provision.resources import Resources
from harness.topology import plan

ONE_WIRE = (
    "networks: a (network default) and b (bridge virbr0) are both on bridge virbr0; "
    "one fault would take the paths of both"
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with connect("test:///default", tmp_path) as opened:
        yield opened


def on(first: dict[str, str], second: dict[str, str]) -> Config:
    networks = [
        {"name": name, "subnet": f"172.16.{n}.0/24", "portals": [f"172.16.{n}.1"]}
        | {"initiator": f"172.16.{n}.101", **wire}
        for n, (name, wire) in enumerate([("a", first), ("b", second)])
    ]
    hypervisor = {"uri": "qemu:///system", "testbeds": 8}
    return Config.model_validate({"networks": networks, "hypervisor": hypervisor})


TWICE = on({"libvirt_network": "default"}, {"bridge": "virbr0"})


def test_the_bridge_of_a_network_is_told_by_libvirt(connection: Connection) -> None:
    """Of one that is not there nothing is told, and a cable is no network."""
    assert bridges_of(connection, TWICE.networks) == {"default": "virbr0"}
    assert bridges_of(connection, on({"libvirt_network": "none"}, {}).networks) == {}


def test_a_network_without_a_bridge_is_left_out(connection: Connection) -> None:
    """A network that hands out NICs of the host has no bridge."""
    connection.libvirt.networkDefineXML(
        "<network><name>nics</name><forward mode='passthrough'><interface dev='eth0'/></forward>"
        "</network>"
    )
    assert bridges_of(connection, on({"libvirt_network": "nics"}, {}).networks) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"bridge": "virbr0"}, {"libvirt_network": "other"}),
        ({"libvirt_network": "default"}, {"bridge": "br0"}),
        ({"libvirt_network": "default"}, {}),
        ({}, {}),
    ],
)
def test_networks_on_wires_of_their_own_are_apart(
    first: dict[str, str], second: dict[str, str]
) -> None:
    require_apart(on(first, second).networks, {"default": "virbr0"})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"libvirt_network": "default"}, {"bridge": "virbr0"}),
        ({"bridge": "virbr0"}, {"libvirt_network": "default"}),
        ({"libvirt_network": "default"}, {"libvirt_network": "other"}),
    ],
)
def test_one_bridge_under_two_names_is_found(first: dict[str, str], second: dict[str, str]) -> None:
    """The configuration alone has two names there."""
    with pytest.raises(ConfigError, match="are both on bridge virbr0"):
        require_apart(on(first, second).networks, {"default": "virbr0", "other": "virbr0"})


def test_the_doctor_finds_it(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OwnQemuHost, "bridge_problem", lambda *_: None)
    *_, last = lab._networks(TWICE, OwnQemuHost(tmp_path), connection)
    hint = "give each a libvirt network or a bridge of its own"
    assert last == Diagnosis(Level.PROBLEM, "networks", ONE_WIRE, hint)


def test_a_run_finds_it_before_a_machine_is_made(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused: Any = None
    folder = SimpleNamespace(root=tmp_path)
    monkeypatch.setattr(provision, "remove_abandoned", lambda: None)
    monkeypatch.setattr(prepare, "claimed", lambda _: nullcontext(folder))
    monkeypatch.setattr(prepare, "qemu_host_for", lambda *_: nullcontext(unused))
    monkeypatch.setattr(prepare, "connect", lambda *_, **__: nullcontext(connection))
    with pytest.raises(ConfigError) as refused, provision.provisioner(TWICE):
        pass
    assert refused.value.message == ONE_WIRE


def test_runs_that_name_a_network_and_its_bridge_wait_for_each_other(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each asks libvirt which bridge its network is before it enters a queue."""
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(sharing, "_FOLDER", tmp_path / "shared")
    unused: Any = None
    folder: Any = SimpleNamespace(name="lab-1")
    accel = Choice("tcg", "emulation")
    by_network, by_bridge = on({"libvirt_network": "default"}, {}), on({"bridge": "virbr0"}, {})
    resources = Resources(
        by_network, plan(by_network), folder, unused, connection, {}, unused, accel
    )
    with ExitStack() as held, ExitStack() as turn, ExitStack() as waiting:
        lab = provision.Provisioner(resources, held)
        lab._take_turn(turn)
        waited_for = [lab.someone_waits]
        queue = sharing.queues(by_bridge)[0]
        ticket = queue._ticket(waiting)
        waited_for.append(lab.someone_waits)
        assert waited_for == [False, True]
        assert not queue._taken(ticket, "lab-2", waiting)
        turn.close()
        assert queue._taken(ticket, "lab-2", waiting)
