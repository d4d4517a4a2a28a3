"""What of provisioning can be told without a machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config
from harness.config.profiles import FAST, STOCK
from harness.errors import HarnessError, HypervisorError
from harness.hypervisor.accel import Choice
from harness.hypervisor.qemu_user import QemuUser
from harness.lacking import Lacking, no_kvm
from harness.provision import fork as forks
from harness.provision import prepare
from harness.provision import provisioner as provision
from harness.provision.fork import CannotSave
from harness.provision.provisioner import Provisioner
from harness.provision.resources import Resources
from harness.steps import Listener, listening
from harness.testbed.testbed import Testbed
from harness.topology import Role, plan


@pytest.mark.parametrize("defect", [None, TypeError("x")])
def test_a_programming_error_in_saving_is_not_taken_for_a_hypervisor_that_cannot_save(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, defect: TypeError | None
) -> None:
    """Else the run would go on without forks."""
    refusal = HypervisorError("libvirt could not save it")
    refusal.__context__ = defect

    def pause() -> None:
        raise refusal

    testbed = SimpleNamespace(machine=lambda _: None, domain=lambda _: SimpleNamespace(pause=pause))
    monkeypatch.setattr(forks, "leave_resident", lambda *_: None)
    guests = SimpleNamespace(guests=tuple(Role))
    resources: Any = SimpleNamespace(config=Config(), topology=guests)
    with pytest.raises(HypervisorError) as raised:
        forks.make_golden(resources, tmp_path, {}, lambda *_: cast(Testbed, testbed))
    assert isinstance(raised.value, CannotSave) == (defect is None)


def test_the_same_resources_serve_several_profiles() -> None:
    """libvirt's embedded driver gives a process no second connection."""
    unused: Any = object()
    config = Config()
    resources = Resources(config, plan(config), unused, unused, unused, {}, unused, unused)
    with Provisioner(resources, ExitStack()).with_profile("stock") as lab:
        assert lab.resources.config.profile == STOCK
        assert lab.resources.connection is resources.connection
        assert resources.config.profile == FAST


CANNOT = CannotSave("pathproof-target: libvirt could not save it", hint="./bootstrap installs it")
FORKS = Lacking("forks", CANNOT.message, CANNOT.hint)


class Warnings(Listener):
    """What was warned of."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warned(self, message: str) -> None:
        self.said.append(message)


def unsaving(monkeypatch: pytest.MonkeyPatch, folder: Path, **config: Any) -> Provisioner:
    """On a host whose hypervisor runs machines and does not save them."""

    @contextmanager
    def making(*_: object) -> Iterator[Path]:
        yield folder

    def make_golden(*_: object) -> None:
        raise CANNOT

    store = SimpleNamespace(making=making)
    monkeypatch.setattr(Provisioner, "_store", property(lambda _: store))
    monkeypatch.setattr(Provisioner, "_determinants", {})
    monkeypatch.setattr(Provisioner, "_open", lambda _: None)
    monkeypatch.setattr(Provisioner, "_take_turn", lambda *_: None)
    monkeypatch.setattr(provision, "make_golden", make_golden)
    unused: Any = object()
    made = Config.model_validate(config)
    accel = Choice("tcg", "emulation", lacking=no_kvm("/dev/kvm is missing"))
    resources = Resources(made, plan(made), unused, unused, unused, {}, unused, accel)
    return Provisioner(resources, ExitStack())


def test_kvm_is_chosen_for_the_user_of_qemu_the_guests_kernel_and_what_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = QemuUser(uid=107, gid=107)
    asked: list[dict[str, object]] = []

    class Chosen(Exception):
        """All that is looked at here has happened."""

    def choose(*_: object, **how: object) -> None:
        asked.append(how)
        raise Chosen

    images = dict.fromkeys(Role, SimpleNamespace(kernel=tmp_path / "vmlinuz"))
    store = SimpleNamespace(using=lambda *_: nullcontext(images), client_key=tmp_path / "key")
    qemu_host = SimpleNamespace(put=lambda image: image)
    folder = SimpleNamespace(root=tmp_path)
    stand_ins: dict[str, Any] = {
        "claimed": lambda _: nullcontext(folder),
        "qemu_host_for": lambda *_: nullcontext(qemu_host),
        "connect": lambda *_, **_more: nullcontext(),
        "ImageStore": lambda *_: store,
        "cache_folder": lambda: tmp_path,
        "qemu_user": {"qemu:///system": user}.get,
        "choose": choose,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(prepare, name, stand_in)
    monkeypatch.setattr(provision, "remove_abandoned", lambda: None)
    config = Config.model_validate({"require": "kvm", "hypervisor": {"uri": "qemu:///system"}})
    with pytest.raises(Chosen), provision.provisioner(config):
        pass
    kernel = tmp_path / "vmlinuz"
    assert asked == [{"cache": tmp_path, "kernel": kernel, "required": True, "user": user}]


def test_testbeds_that_cannot_be_forked_lack_forks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With cause and cure, from the first that was booted instead; KVM is lacking all the time."""
    lab = unsaving(monkeypatch, tmp_path)
    assert [one.name for one in lab.lacking] == ["kvm"]
    warnings = Warnings()
    with listening(warnings):
        assert lab.prepare() == CANNOT.message
    assert lab.lacking == (FORKS, no_kvm("/dev/kvm is missing"))
    assert warnings.said == [
        f"testbeds are booted, not forked: {CANNOT.message}\n  cure: {CANNOT.hint}"
    ]


def test_forks_that_are_required_and_fail_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the middle of a run: no testbed is booted instead."""
    lab = unsaving(monkeypatch, tmp_path, require="forks")
    with pytest.raises(HarnessError) as error, lab.testbed():
        pytest.fail("a testbed was booted")
    assert (
        str(error.value) == f"forks are required and lacking: {CANNOT.message}\nhint: {CANNOT.hint}"
    )


def test_what_was_asked_for_is_not_lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--fork false` is said, and no run is degraded by it."""
    lab = unsaving(monkeypatch, tmp_path, hypervisor={"fork": False})
    assert lab.prepare() == "hypervisor.fork is false"
    assert [one.name for one in lab.lacking] == ["kvm"]


def test_forks_that_fail_three_times_are_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a run, though snapshots could be made."""
    lab = unsaving(monkeypatch, tmp_path)
    golden: Any = SimpleNamespace(folder=tmp_path)

    def fork(*_: object) -> None:
        raise HarnessError("the initiator does not wake")

    monkeypatch.setattr(provision, "fork", fork)
    monkeypatch.setattr(Provisioner, "_find_golden", lambda _: golden)
    monkeypatch.setattr(Provisioner, "_drop", lambda *_: None)
    monkeypatch.setattr(Provisioner, "_booted", lambda *_: "booted")
    kept = ["the snapshot"]
    lab.held.callback(kept.clear)
    with lab.testbed() as testbed:
        assert str(testbed) == "booted"
    assert kept == []  # other processes may remove it now
    (forks, _) = lab.lacking
    assert forks.reason == ("3 forks in a row failed, the last one: the initiator does not wake")
    assert "pathproof doctor" in forks.cure
