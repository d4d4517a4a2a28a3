"""The script that gives data NICs their addresses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.config import Config
from harness.errors import MachineError
from harness.provision import data_nics as network
from harness.provision.data_nics import configure_fabrics, render_script
from harness.topology import Role, plan
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine

TOPOLOGY = plan(Config())


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("addressed", [True, False])
def test_the_script_is_valid_shell(role: Role, addressed: bool) -> None:
    """As dash reads it."""
    script = render_script(role, TOPOLOGY.fabrics, addressed=addressed)
    done = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def machine(folder: Path, nics: dict[str, str]) -> dict[str, str]:
    """A machine with these NICs (name -> MAC address) and an `ip` that only notes its calls."""
    for name, mac in nics.items():
        nic = folder / "net" / name
        nic.mkdir(parents=True)
        (nic / "address").write_text(mac + "\n")
    (folder / "net" / "bonding_masters").write_text("\n")
    (folder / "bin").mkdir()
    program = folder / "bin" / "ip"
    program.write_text(f'#!/bin/sh\necho "$*" >> {folder}/calls\n')
    program.chmod(0o755)
    return os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}"}


def run(
    folder: Path, role: Role, nics: dict[str, str], *, addressed: bool = True
) -> tuple[list[str], list[str]]:
    environment = machine(folder, nics)
    script = render_script(role, TOPOLOGY.fabrics, addressed=addressed).replace(
        "/sys/class/net", f"{folder}/net"
    )
    done = subprocess.run(
        ["sh", "-euc", script], env=environment, capture_output=True, text=True, check=True
    )
    calls = folder / "calls"
    return done.stdout.splitlines(), calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize("role", list(Role))
def test_nics_are_found_by_mac_address_whatever_their_names(tmp_path: Path, role: Role) -> None:
    """Each gets the address of its fabric; the management NIC is left alone."""
    a, b = TOPOLOGY.fabrics
    nics = {"ens9": a.mac(role), "ens2": b.mac(role), "ens1": "52:54:00:70:70:01", "lo": "00:00"}
    said, calls = run(tmp_path, role, nics)
    assert said == ["a ens9", "b ens2"]
    assert calls == [
        f"address replace {a.address(role)}/24 dev ens9",
        "link set ens9 up allmulticast on",
        f"address replace {b.address(role)}/24 dev ens2",
        "link set ens2 up allmulticast on",
    ]


def test_a_missing_nic_is_not_named(tmp_path: Path) -> None:
    """What the script does not say is what the caller misses."""
    said, _ = run(tmp_path, Role.TARGET, {"ens9": TOPOLOGY.fabrics[1].target_mac})
    assert said == ["b ens9"]


def scripted(*answers: Answer) -> ScriptedMachine:
    """It gives these answers, one after another, then the last again."""
    left = list(answers)
    return ScriptedMachine(lambda _: left.pop(0) if len(left) > 1 else left[0])


def test_a_nic_that_is_not_there_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or has another name by the time that it gets its address."""
    monkeypatch.setattr("harness.deadline.time.sleep", lambda _: None)
    renamed = Answer("a ens9\n", 'Cannot find device "eth2"', status=1)
    slow = scripted(Answer("a ens9\n"), renamed, Answer("a ens9\nb ens2\n"))
    nics = {"a": "ens9", "b": "ens2"}
    assert configure_fabrics(slow, Role.INITIATOR, TOPOLOGY) == nics


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer("a ens9\n"), "scripted: no NIC for fabric b"),
        (Answer("a ens9\nb ens2\n", "RTNETLINK answers: no", status=2), "RTNETLINK answers: no"),
    ],
)
def test_what_stays_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, says: str
) -> None:
    monkeypatch.setattr(network, "_PATIENCE_S", 0.01)
    with pytest.raises(MachineError, match=says):
        configure_fabrics(scripted(answer), Role.INITIATOR, TOPOLOGY)


def test_nics_come_up_without_addresses_while_others_may_have_them(tmp_path: Path) -> None:
    """Until it is known that nobody does."""
    nic = {"ens9": TOPOLOGY.fabrics[0].initiator_mac}
    said, calls = run(tmp_path, Role.INITIATOR, nic, addressed=False)
    assert said == ["a ens9"]
    assert calls == ["link set ens9 up allmulticast on"]
