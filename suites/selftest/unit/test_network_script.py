"""The script that gives data NICs their addresses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.config import Config, load
from harness.errors import MachineError
from harness.machine.nic_script import render_script
from harness.provision import data_nics as network
from harness.provision.data_nics import bring_up_shared, configure_nics
from harness.topology import Nic, Role, Topology, plan
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine

TOPOLOGY = plan(Config())
READY = ("two", "four", "one-subnet", "ipv6", "jumbo", "vlan", "routed")


def ready(name: str) -> Topology:
    return plan(load(None, {"topology": (name, "--topology")}).config)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("addressed", [True, False])
@pytest.mark.parametrize("name", READY)
def test_the_script_is_valid_shell(name: str, role: Role, addressed: bool) -> None:
    """dash can read it."""
    script = render_script(ready(name).nics(role), addressed=addressed)
    done = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def machine(folder: Path, nics: dict[str, str], bridges: dict[str, str]) -> dict[str, str]:
    """A machine with these NICs and bridges (name -> MAC address).

    Its `ip` and its `sysctl` only note their calls, and a device that is made is there.
    """
    for name, mac in (nics | bridges).items():
        nic = folder / "net" / name
        nic.mkdir(parents=True)
        (nic / "address").write_text(mac + "\n")
        if name in nics:
            (nic / "device").mkdir()
    (folder / "net" / "bonding_masters").write_text("\n")
    (folder / "bin").mkdir()
    for tool in ("ip", "sysctl"):
        program = folder / "bin" / tool
        program.write_text(
            f'#!/bin/sh\necho "{tool} $*" >> {folder}/calls\n'
            f'[ "$1 $2" = "link add" ] || exit 0\n'
            f'[ "$3" = link ] && name=$6 || name=$3\n'
            f"mkdir {folder}/net/$name\n"
        )
        program.chmod(0o755)
    return os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}"}


def run(
    folder: Path,
    described: Sequence[Nic],
    nics: dict[str, str],
    *,
    addressed: bool = True,
    bridges: dict[str, str] | None = None,
) -> tuple[list[str], list[str]]:
    environment = machine(folder, nics, bridges or {})
    script = render_script(described, addressed=addressed).replace(
        "/sys/class/net", f"{folder}/net"
    )
    done = subprocess.run(
        ["sh", "-euc", script], env=environment, capture_output=True, text=True, check=True
    )
    calls = folder / "calls"
    return done.stdout.splitlines(), calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize("role", list(Role))
def test_nics_are_found_by_mac_address_whatever_their_names(tmp_path: Path, role: Role) -> None:
    """Each gets the address of its network; the management NIC is left alone."""
    a, b = TOPOLOGY.nics(role)
    nics = {"ens9": a.mac, "ens2": b.mac, "ens1": "52:54:00:70:70:01", "lo": "00:00"}
    said, calls = run(tmp_path, (a, b), nics)
    assert said == ["a ens9", "b ens2"]
    host = {Role.TARGET: 1, Role.INITIATOR: 101}[role]
    assert calls == [
        f"ip address replace 172.16.0.{host}/24 dev ens9",
        "ip link set ens9 up allmulticast on",
        f"ip address replace 172.16.1.{host}/24 dev ens2",
        "ip link set ens2 up allmulticast on",
    ]


def test_a_missing_nic_is_not_named(tmp_path: Path) -> None:
    """What the script does not say is what the caller misses."""
    nics = TOPOLOGY.nics(Role.TARGET)
    said, _ = run(tmp_path, nics, {"ens9": nics[1].mac})
    assert said == ["b ens9"]


def test_a_nic_has_every_portal_of_its_network(tmp_path: Path) -> None:
    """One cable, several addresses."""
    a, b = ready("four").nics(Role.TARGET)
    said, calls = run(tmp_path, (a, b), {"ens9": a.mac, "ens2": b.mac})
    assert said == ["a ens9", "b ens2"]
    assert calls[:3] == [
        "ip address replace 172.16.0.1/24 dev ens9",
        "ip address replace 172.16.0.2/24 dev ens9",
        "ip link set ens9 up allmulticast on",
    ]
    assert not any("sysctl" in call for call in calls)  # one NIC, whatever it has


def test_ipv6_addresses_are_used_at_once(tmp_path: Path) -> None:
    """Those that the kernel is still asking others for cannot be bound to: duplicate detection."""
    a, b = ready("ipv6").nics(Role.TARGET)
    said, calls = run(tmp_path, (a, b), {"ens9": a.mac, "ens2": b.mac})
    assert said == ["a ens9", "b ens2"]
    assert calls == [
        "ip address replace fd00:172:16::1/64 dev ens9 nodad",
        "ip link set ens9 up allmulticast on",
        "ip address replace fd00:172:16:1::1/64 dev ens2 nodad",
        "ip link set ens2 up allmulticast on",
    ]


def test_nics_of_one_subnet_answer_for_their_own_address_only(tmp_path: Path) -> None:
    """Otherwise the first NIC to answer ARP gets the packets of both."""
    one, other = ready("one-subnet").nics(Role.INITIATOR)
    said, calls = run(tmp_path, (one, other), {"ens9": one.mac, "ens2": other.mac})
    assert said == ["a-nic1 ens9", "a-nic2 ens2"]
    assert calls == [
        call
        for nic, host in (("ens9", 101), ("ens2", 102))
        for call in (
            f"ip address replace 172.16.0.{host}/24 dev {nic}",
            f"sysctl -qw net/ipv4/conf/{nic}/arp_ignore=1",
            f"sysctl -qw net/ipv4/conf/{nic}/arp_announce=2",
            f"sysctl -qw net/ipv4/conf/{nic}/rp_filter=2",
            f"ip link set {nic} up allmulticast on",
        )
    ]


def test_several_cables_end_at_a_bridge_inside_the_target(tmp_path: Path) -> None:
    """It is made once, and has the address; each NIC is a port of it."""
    one, other = ready("one-subnet").nics(Role.TARGET)
    assert one.bridge == other.bridge == "br-a"
    said, calls = run(tmp_path, (one, other), {"ens9": one.mac, "ens2": other.mac})
    assert said == ["a-nic1 ens9", "a-nic2 ens2"]
    assert calls.pop(1) == "ip link add br-a type bridge stp_state 0"
    assert calls == [
        call
        for nic in ("ens9", "ens2")
        for call in (
            f"ip link set {nic} up allmulticast on",
            f"ip link set {nic} master br-a",
            "ip address replace 172.16.0.1/24 dev br-a",
            "ip link set br-a up",
        )
    ]


def test_a_bridge_with_the_mac_address_of_its_port_is_no_nic(tmp_path: Path) -> None:
    """A bridge has that of one of its ports: the script may be run again, and must say no more."""
    nics = ready("one-subnet").nics(Role.TARGET)
    named = dict(zip(("ens9", "ens2"), (nic.mac for nic in nics), strict=True))
    said, calls = run(tmp_path, nics, named, bridges={"br-a": nics[0].mac})
    assert said == ["a-nic1 ens9", "a-nic2 ens2"]
    assert not any("link add" in call or "set br-a master" in call for call in calls)


def test_the_mtu_is_that_of_the_network(tmp_path: Path) -> None:
    """Whatever the hypervisor has told the NIC."""
    a, b = ready("jumbo").nics(Role.INITIATOR)
    _, calls = run(tmp_path, (a, b), {"ens9": a.mac, "ens2": b.mac})
    assert "ip link set ens9 up mtu 9000 allmulticast on" in calls
    assert "ip link set ens2 up mtu 9000 allmulticast on" in calls


def test_a_nic_in_a_vlan_has_its_address_on_a_device_of_its_own(tmp_path: Path) -> None:
    """The NIC itself, whose name is told, has none: faults pull its cable."""
    a, b = ready("vlan").nics(Role.TARGET)
    said, calls = run(tmp_path, (a, b), {"ens9": a.mac, "ens2": b.mac})
    assert said == ["a ens9", "b ens2"]
    assert calls == [
        call
        for nic, vlan, host in (("ens9", 101, "172.16.0.1"), ("ens2", 102, "172.16.1.1"))
        for call in (
            f"ip link set {nic} up allmulticast on",
            f"ip link add link {nic} name {nic}.{vlan} type vlan id {vlan}",
            f"ip address replace {host}/24 dev {nic}.{vlan}",
            f"ip link set {nic}.{vlan} up",
        )
    ]


def in_a_vlan(name: str) -> Topology:
    """A ready topology, with frames of 9000 bytes in VLAN 5."""
    config = load(None, {"topology": (name, "--topology")}).config
    changed = {"vlan": 5, "mtu": 9000}
    return plan(config.model_copy(update={"networks": tuple(
        network.model_copy(update=changed) for network in config.networks
    )}))  # fmt: skip


def test_nics_of_one_subnet_in_a_vlan_are_kept_apart_there(tmp_path: Path) -> None:
    """The settings are those of the devices that have the addresses."""
    one, other = in_a_vlan("one-subnet").nics(Role.INITIATOR)
    _, calls = run(tmp_path, (one, other), {"ens9": one.mac, "ens2": other.mac})
    assert [call for call in calls if "sysctl" in call and "ens9" in call] == [
        "sysctl -qw net/ipv4/conf/ens9.5/arp_ignore=1",
        "sysctl -qw net/ipv4/conf/ens9.5/arp_announce=2",
        "sysctl -qw net/ipv4/conf/ens9.5/rp_filter=2",
    ]


def test_several_cables_in_a_vlan_end_at_a_bridge_inside_the_target(tmp_path: Path) -> None:
    """Its ports are the VLAN's devices."""
    one, other = in_a_vlan("one-subnet").nics(Role.TARGET)
    _, calls = run(tmp_path, (one, other), {"ens9": one.mac, "ens2": other.mac})
    assert "ip link set ens9.5 master br-a" in calls
    assert "ip link set br-a up mtu 9000" in calls
    assert not any("ip address" in call and "br-a" not in call for call in calls)


def test_a_portal_behind_a_router_is_the_targets_own_and_the_initiator_has_a_route(
    tmp_path: Path,
) -> None:
    """The address belongs to none of the networks, so no NIC has it."""
    topology = ready("routed")
    (a, _), (own, _) = topology.nics(Role.TARGET), topology.nics(Role.INITIATOR)
    for folder in (tmp_path / "target", tmp_path / "initiator"):
        folder.mkdir()
    _, calls = run(tmp_path / "target", (a,), {"ens9": a.mac})
    assert calls[0] == "ip address replace 172.16.0.1/24 dev ens9"
    assert calls[-1] == "ip address replace 172.17.0.1/32 dev lo"
    _, calls = run(tmp_path / "initiator", (own,), {"ens9": own.mac})
    assert calls[-1] == "ip route replace 172.17.0.1 via 172.16.0.1 dev ens9"


def test_an_ipv6_address_on_a_network_of_others_is_asked_for_first(tmp_path: Path) -> None:
    """By the kernel; on a cable it need not be."""
    (network, _) = load(None, {"topology": ("ipv6", "--topology")}).config.networks
    bridged = network.model_copy(update={"bridge": "br0"})
    shared = plan(Config.model_construct(networks=(bridged, Config().networks[1])))
    nic = shared.networks[0].nics(Role.INITIATOR)[0]
    _, calls = run(tmp_path, (nic,), {"ens9": nic.mac})
    assert calls[0] == "ip address replace fd00:172:16::101/64 dev ens9"


def scripted(*answers: Answer) -> ScriptedMachine:
    """It gives these answers, one after another, then the last again."""
    left = list(answers)
    return ScriptedMachine(lambda _: left.pop(0) if len(left) > 1 else left[0])


def test_a_nic_that_is_not_there_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may also have another name by the time that it gets its address."""
    monkeypatch.setattr("harness.deadline.time.sleep", lambda _: None)
    renamed = Answer("a ens9\n", 'Cannot find device "eth2"', status=1)
    slow = scripted(Answer("a ens9\n"), renamed, Answer("a ens9\nb ens2\n"))
    nics = {"a": "ens9", "b": "ens2"}
    assert configure_nics(slow, Role.INITIATOR, TOPOLOGY) == nics


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer("a ens9\n"), "scripted: no NIC for b"),
        (Answer("a ens9\nb ens2\n", "RTNETLINK answers: no", status=2), "RTNETLINK answers: no"),
    ],
)
def test_what_stays_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, says: str
) -> None:
    monkeypatch.setattr(network, "_PATIENCE_S", 0.01)
    with pytest.raises(MachineError, match=says):
        configure_nics(scripted(answer), Role.INITIATOR, TOPOLOGY)


def test_nics_come_up_without_addresses_while_others_may_have_them(tmp_path: Path) -> None:
    """Until it is known that no machine does."""
    nics = TOPOLOGY.nics(Role.INITIATOR)
    said, calls = run(tmp_path, nics, {"ens9": nics[0].mac}, addressed=False)
    assert said == ["a ens9"]
    assert calls == ["ip link set ens9 up allmulticast on"]


def test_only_nics_on_shared_networks_are_brought_up_before_their_addresses_are_held() -> None:
    """A cable has no other users."""
    cable, bridged = Config().networks
    changed: dict[str, Any] = {"bridge": "br0"}
    topology = plan(Config(networks=(cable, bridged.model_copy(update=changed))))
    machine = scripted(Answer("b ens2\n"))
    assert bring_up_shared(machine, Role.INITIATOR, topology) == {"b": "ens2"}
    (asked,) = machine.asked
    script = " ".join(asked.argv)
    assert topology.nics(Role.INITIATOR)[1].mac in script
    assert topology.nics(Role.INITIATOR)[0].mac not in script
    assert "ip address" not in script
