"""Links of an existing machine that end at one NIC, as a guest's kernel told of its devices."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.config import Config
from harness.preflight.links import LOWER_SCRIPT, link_problems, nics_under, parse_lower
from harness.topology import plan

RECORDED = Path(__file__).parent / "recorded" / "linux-6.1-lower.txt"
BELOW = parse_lower(RECORDED.read_text())
TWO = plan(Config())


@pytest.mark.parametrize(
    ("device", "nics"),
    [
        ("eth0", ("eth0",)),
        ("eth1.101", ("eth1",)),  # a VLAN
        ("qinq", ("eth1",)),  # a VLAN in a VLAN
        ("mv0", ("eth1",)),  # a macvlan
        ("br0", ("eth1",)),  # a bridge, whose port is the macvlan
        ("bond0", ("d1", "d2")),
        ("bond0.5", ("d1", "d2")),
    ],
)
def test_the_nics_that_a_device_is_made_on_are_found(device: str, nics: tuple[str, ...]) -> None:
    assert nics_under(device, BELOW) == nics


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ("eth1.101", "mv0", "all made on the same NIC eth1: each link needs its own NIC"),
        ("bond0", "bond0.5", "all made on the same NICs d1 and d2: each link needs its own NIC"),
    ],
)
def test_links_that_share_a_nic_are_told_with_the_devices(a: str, b: str, says: str) -> None:
    (problem,) = link_problems(TWO, {"a": a, "b": b}, BELOW)
    assert problem.cause == f"172.16.0.101 on {a} (link a) and 172.16.1.101 on {b} (link b), {says}"
    assert "networks.N.initiator" in problem.cure


def test_two_links_on_the_same_device_are_told_by_their_addresses() -> None:
    (problem,) = link_problems(TWO, {"a": "eth1", "b": "eth1"}, BELOW)
    assert problem.cause == (
        "172.16.0.101 (link a) and 172.16.1.101 (link b) on one NIC, eth1: each link needs its own"
    )


@pytest.mark.parametrize(("a", "b"), [("eth0", "eth1"), ("eth0", "eth1.101"), ("bond0.5", "br0")])
def test_links_with_a_nic_each_are_no_problem(a: str, b: str) -> None:
    """Whatever is made on the NICs."""
    assert link_problems(TWO, {"a": a, "b": b}, BELOW) == []


def test_a_machine_without_such_devices_prints_nothing() -> None:
    """Each device is a NIC then."""
    assert parse_lower("") == {}


def test_virtual_functions_of_a_nic_are_made_on_it(tmp_path: Path) -> None:
    """Unless it is several ports, of which one is theirs."""
    net = tmp_path / "class/net"
    ports = {"0000:01:00.0": ["ens1f0"], "0000:02:00.0": ["ens2", "ens2d1"], "0000:03:00.0": []}
    functions = {"ens1f0v0": "0000:01:00.0", "ens1f0v1": "0000:01:00.0", "ens2v0": "0000:02:00.0"}
    functions["ens3v0"] = "0000:03:00.0"
    for device, names in ports.items():
        for name in names:
            (tmp_path / device / "net" / name).mkdir(parents=True)
            (net / name).mkdir(parents=True)
            (net / name / "device").symlink_to(tmp_path / device)
        (tmp_path / device / "net").mkdir(parents=True, exist_ok=True)
    for name, device in functions.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "physfn").symlink_to(tmp_path / device)
        (net / name).mkdir()
        (net / name / "device").symlink_to(tmp_path / name)
    script = LOWER_SCRIPT.replace("/sys", str(tmp_path))
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    below = parse_lower(said.stdout.replace(str(tmp_path), "/sys"))
    assert below == {"ens1f0v0": ("ens1f0",), "ens1f0v1": ("ens1f0",)}
    (problem,) = link_problems(TWO, {"a": "ens1f0v0", "b": "ens1f0v1"}, below)
    assert "all made on the same NIC ens1f0" in problem.cause
