"""In which order testbeds are made, and with which settings; machines and libvirt are stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from harness.config import Config
from harness.errors import HarnessError, InitiatorError, PreflightFailed, Problem
from harness.hypervisor.accel import Choice
from harness.provision import (
    attach,
    boot,
    configure,
    existing,
    first_io,
    prepare,
    prove,
    provisioner,
)
from harness.provision.existing import ExistingProvisioner
from harness.provision.first_io import fill
from harness.provision.provisioner import Provisioner
from harness.testbed import io_session
from harness.testbed.io_session import IoSession
from harness.testbed.protocols import MeasuredTestbed
from harness.topology import Role, plan
from harness.workload import FioRun

OWN_FIO = "/opt/fio/bin/fio"
EXTERNAL: dict[str, Any] = {"kind": "external", "wwid": "360014057043dfe0435de773ca03bbf04"}


@pytest.fixture
def told() -> list[str]:
    """What happened, in order."""
    return []


def telling(told: list[str], what: str) -> Callable[..., Any]:
    def call(*_: object, **_more: object) -> Any:
        told.append(what)
        return MagicMock()

    return call


def stand_in(told: list[str]) -> MagicMock:
    """A testbed that tells what proves it."""
    testbed = MagicMock()
    testbed.prove_target = telling(told, "prove target")
    testbed.prove_paths = telling(told, "prove paths")
    return testbed


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
def test_guests_and_load_have_the_sizes_of_their_acceleration(
    monkeypatch: pytest.MonkeyPatch, accel: Any
) -> None:
    """Once it is known which one that is."""
    for name in ("claimed", "qemu_host_for", "connect", "ImageStore", "load_image"):
        monkeypatch.setattr(prepare, name, MagicMock())
    monkeypatch.setattr(prepare, "cache_folder", MagicMock())
    monkeypatch.setattr(prepare, "choose", lambda *_, **__: Choice(accel, "by the test"))
    monkeypatch.setattr(prepare, "slow_start", lambda *_: "")
    with prepare.resources_for(Config()) as resources:
        found = resources.config
    assert found.machines.cpus == {"kvm": 2, "tcg": 1}[accel]
    assert found.workload.probe_iops == {"kvm": 500, "tcg": 150}[accel]


def test_nothing_is_written_before_the_target_is_proven(
    monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """Another testbed's target may have the same name and WWID."""
    resources = MagicMock(config=Config())
    resources.assembled.return_value = stand_in(told)
    resources.initiators.return_value = {"initiator": MagicMock()}
    for name in ("_make_disks", "by_machine"):
        monkeypatch.setattr(boot, name, MagicMock())
    for name in ("held_addresses", "bring_up_shared", "by_machine"):
        monkeypatch.setattr(configure, name, MagicMock())
    monkeypatch.setattr(attach, "require_fit", MagicMock())
    monkeypatch.setattr(prove, "fill", telling(told, "write"))
    with ExitStack() as power, ExitStack() as links:
        lab = Provisioner(resources, ExitStack())
        lab._from_nothing(power, links, Path("unused"))
    assert lab.someone_waits  # for the addresses, as their stand-in says
    assert told == ["prove target", "write", "prove paths"]


def test_an_existing_machine_is_used_in_turn_and_claimed_before_it_writes(
    monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """The LUN is one: two runs on it, of whatever users and hosts, would spoil each other's."""

    @contextmanager
    def turn(config: Config, what: str) -> Iterator[None]:
        told.append(f"turn of {what}")
        yield
        told.append("turn over")

    for name in ("transport_for", "nics_of", "observing", "LocalMachine"):
        monkeypatch.setattr(existing, name, MagicMock())
    monkeypatch.setattr(attach, "require_fit", MagicMock())
    monkeypatch.setattr(existing, "turn", turn)
    transport = vars(existing)["transport_for"].return_value
    transport.existing_initiator.return_value.attachments = (MagicMock(),)
    monkeypatch.setattr(attach, "claim", telling(told, "claim"))
    monkeypatch.setattr(existing, "Testbed", lambda *_, **__: stand_in(told))
    monkeypatch.setattr(prove, "fill", telling(told, "write"))
    made = Config.model_validate(
        {"target": EXTERNAL, "initiator": {"machine": "local"}, "name": "lab-7"}
    )
    with ExistingProvisioner(made, plan(made)).testbed():
        told.append("test")
    before = ["turn of lab-7", "claim", "prove target", "write", "prove paths"]
    assert told == [*before, "test", "turn over"]


@pytest.mark.parametrize("wired", [True, False])
def test_of_a_login_that_fails_the_wiring_is_told_if_it_is_the_cause(
    monkeypatch: pytest.MonkeyPatch, wired: bool
) -> None:
    """That a portal does not answer is what follows from it."""
    initiator = MagicMock()
    initiator.log_in.side_effect = InitiatorError("portal a does not answer")
    wrong = [] if wired else [PreflightFailed([Problem("crossed", "")])]
    monkeypatch.setattr(attach, "require_wired", MagicMock(side_effect=wrong or None))
    with pytest.raises(HarnessError, match="does not answer" if wired else "crossed"):
        attach.attach(Config(), MagicMock(), {"initiator": initiator}, {"initiator": {}})


def test_before_the_first_test_the_nics_of_both_machines_are_examined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A portal may answer although the target's other NIC has no carrier or the wrong address."""
    by_role = {role: MagicMock(nics={"a": f"eth-{role}"}) for role in Role}
    resources = MagicMock(config=Config())
    monkeypatch.setattr(provisioner, "boot", MagicMock())
    monkeypatch.setattr(provisioner, "wire", MagicMock())
    configured = MagicMock(guests=by_role, initiators={Role.INITIATOR: MagicMock()})
    monkeypatch.setattr(provisioner, "configure", lambda *_: configured)
    monkeypatch.setattr(provisioner, "prove", MagicMock())
    require_fit = MagicMock()
    monkeypatch.setattr(attach, "require_fit", require_fit)
    Provisioner(resources, ExitStack())._from_nothing(ExitStack(), ExitStack(), Path("unused"))
    ends = require_fit.call_args.kwargs["ends"]
    assert {end.name: dict(end.nics) for end in ends} == {
        role: dict(by_role[role].nics) for role in Role
    }


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was started as fio."""
    found: list[object] = []

    @contextmanager
    def started(*_: object, folder: str, program: object = "fio") -> Iterator[Any]:
        found.append(program)
        yield MagicMock()

    monkeypatch.setattr(FioRun, "started", started)
    return found


@pytest.fixture
def with_own_fio() -> Any:
    made = Config.model_validate(
        {"target": EXTERNAL, "initiator": {"machine": "local", "fio": OWN_FIO}}
    )
    one = MagicMock(lun=plan(made).luns[0])
    return MagicMock(config=made, topology=plan(made), maps=(one,))


def test_the_first_io_is_that_of_the_users_fio(
    programs: list[object], with_own_fio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_io, "attach", lambda *_: None)
    fill(with_own_fio)
    assert programs == [OWN_FIO]


def test_measured_io_is_that_of_the_users_fio(
    programs: list[object], with_own_fio: MeasuredTestbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io_session, "Witness", MagicMock())
    monkeypatch.setattr(IoSession, "_read_back_in_time", lambda *_: None)
    monkeypatch.setattr(IoSession, "_assemble", lambda *_: None)
    monkeypatch.setattr(IoSession, "_finish", lambda *_: MagicMock())
    with IoSession(with_own_fio, (), 60).running():
        pass
    assert programs == [OWN_FIO]
