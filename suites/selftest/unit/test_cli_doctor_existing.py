"""What the doctor says of an initiator that is there already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import doctor, existing, host
from harness.cli.diagnosis import Diagnosis, Level
from harness.config import Config
from harness.errors import InitiatorError
from harness.provision import existing as provision
from harness.transport.dm_multipath.multipath_conf import DROP_IN
from suites.selftest.unit.existing_host import ADDRESSES, LOOK, TOOLS, WWID, Host, config
from suites.selftest.unit.sshd import NEEDS_SSHD, sshd_in


def over_ssh(**ssh: Any) -> Config:
    return Config.model_validate(
        {
            "target": {"kind": "external", "wwid": WWID},
            "initiator": {"machine": "ssh", "ssh": ssh},
        }
    )


def examined(there: Host, monkeypatch: pytest.MonkeyPatch) -> list[Diagnosis]:
    monkeypatch.setattr(provision, "machine_of", lambda _: there.machine)
    return list(existing.initiator(config()))


WELL = [
    Diagnosis(Level.OK, "initiator", "reached: this very host"),
    Diagnosis(Level.OK, "its tools", "root, and all are there"),
    Diagnosis(Level.OK, "its multipathd", "runs, and will heed a run"),
    Diagnosis(Level.OK, "its addresses", "172.16.0.101 on eth1, 172.16.1.101 on eth2"),
    Diagnosis(Level.OK, "its sessions", "none with the target, no record of it, no map"),
]


def test_a_machine_that_is_fit_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written there, undone, begun or ended: each command only asks."""
    there = Host()
    assert examined(there, monkeypatch) == WELL
    assert [asked for asked in there.machine.asked if asked.stdin] == []
    assert {line for line in there.asked() if not line.startswith("sh ")} == {
        "multipathd show config local",
        "ip -oneline address",
        f"test -e {DROP_IN}",
        "iscsiadm --mode node --targetname iqn.2026-01.io.pathproof:storage",
    }
    scripts = [asked.argv[2] for asked in there.machine.asked if asked.argv[0] == "sh"]
    assert not any("drop_in=$1" in script or "flock" in script for script in scripts)


@pytest.mark.parametrize(
    ("there", "subject"),
    [
        (Host(tools=f"{TOOLS}missing nft\n"), "its tools"),
        (Host(tools=TOOLS.replace("fio-3.36", "fio-3.28")), "its tools"),
        (Host(looks=(LOOK.replace("service active", "service failed"),) * 2), "its multipathd"),
        (Host(records=True), "its sessions"),
        (Host(devices=f"device|sdb|8:16|2048||||{WWID}||naa.{WWID[1:]}"), "its sessions"),
    ],
)
def test_what_would_stop_a_run_is_said_as_the_run_says_it(
    there: Host, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same cure; what does not depend on it is looked at all the same."""
    found = examined(there, monkeypatch)
    (problem,) = (one for one in found if one.level is not Level.OK)
    with pytest.raises(InitiatorError) as refused, there.initiator().borrowed():
        pass
    assert problem == Diagnosis(Level.PROBLEM, subject, refused.value.message, refused.value.hint)
    subjects = [one.subject for one in found]
    assert subjects == [one.subject for one in WELL][: 2 if subject == "its tools" else 5]


def test_an_address_that_the_machine_has_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Host(addresses=ADDRESSES.replace("172.16.1.101", "10.0.0.1"))
    (problem,) = (one for one in examined(there, monkeypatch) if one.level is not Level.OK)
    assert problem.level is Level.PROBLEM
    assert "has no address 172.16.1.101 (network b)" in problem.text


def test_what_a_run_left_or_has_there_is_only_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run undoes it before it looks for sessions of others."""
    found = examined(Host(traces=True, records=True), monkeypatch)
    assert (found[-1].level, found[-1].subject) == (Level.WARNING, "its sessions")


def test_a_machine_that_cannot_be_reached_is_a_problem(tmp_path: Path) -> None:
    key = tmp_path / "key"
    ssh = {"host": "127.0.0.1", "key": str(key), "host_key": "ssh-ed25519 AAAA"}
    (found,) = existing.initiator(over_ssh(**ssh))
    assert found == Diagnosis(Level.PROBLEM, "initiator", f"initiator.ssh.key: {key} is not there")


@NEEDS_SSHD
def test_the_machine_is_reached_over_ssh_and_asked(tmp_path: Path) -> None:
    """A real one: this host, which need not be an initiator."""
    with sshd_in(tmp_path) as sshd:
        end = sshd.endpoint
        ssh = {"host": end.host, "port": end.port, "user": end.user, "key": str(end.private_key)}
        first, tools, *_ = existing.initiator(over_ssh(**ssh, host_key=end.host_key))
        assert first.level is Level.OK
        assert first.text == f"reached: {end.user}@127.0.0.1:{end.port}, an existing machine"
        assert tools.subject == "its tools"
        other = over_ssh(**ssh, host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43)
        (refused,) = existing.initiator(other)
        assert refused.level is Level.PROBLEM
        assert "shows another host key than the pinned one" in refused.text


def test_no_program_for_machines_is_looked_for_where_none_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither QEMU nor libvirt nor images: a run does without them."""

    def initiator(_: Config) -> Iterator[Diagnosis]:
        yield Diagnosis(Level.OK, "initiator", "there")

    well = Diagnosis(Level.OK, "HTML report", "made")
    monkeypatch.setattr(existing, "initiator", initiator)
    monkeypatch.setattr(host, "which", lambda _: None)
    monkeypatch.setattr(host, "report_generator", lambda **_: well)
    subjects = [one.subject for one in doctor.examine(config())]
    assert (subjects[0], subjects[-1]) == ("initiator", "HTML report")
    assert set(subjects) == {"initiator", "earlier testbeds", "HTML report"}
