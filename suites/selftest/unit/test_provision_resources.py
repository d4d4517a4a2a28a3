"""How the machines of a testbed are started; stand-ins, since only the order counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config import Config
from harness.config.sizes import sized_for
from harness.errors import HarnessError, HypervisorError
from harness.guest_images.store import BuiltImage
from harness.host.folder import Folder
from harness.host.qemu_host import OwnQemuHost
from harness.hypervisor.accel import Choice
from harness.hypervisor.domain import PortTaken
from harness.hypervisor.domain_xml import DomainSpec, Nic, TcpCable
from harness.machine import SshMachine
from harness.provision import resources as module
from harness.provision.resources import Resources
from harness.steps import Listener, listening
from harness.topology import Role, plan
from harness.transport import IscsiInitiator


def machine(role: Role, *, listens: bool, folder: Path) -> DomainSpec:
    """With one cable, at which it listens or not."""
    return DomainSpec(
        name=f"pathproof-{role}",
        uuid="7f0c0a1e-5f0c-4b63-9a55-6a8f2c9b6d11",
        accel="tcg",
        cpus=1,
        memory_bytes=1 << 28,
        kernel=folder / "kernel",
        initrd=None,
        cmdline="",
        disks=(),
        nics=(Nic("52:54:00:00:00:01", TcpCable(20001, listens=listens)),),
        ssh_port=20002,
        management_mac="52:54:00:00:00:02",
        console_log=folder / "console.log",
    )


@pytest.mark.parametrize("listener", list(Role))
def test_the_machine_that_listens_is_started_first(
    listener: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever role it has: the other connects its cables while it starts."""
    monkeypatch.setattr(module, "destroy_named", lambda *_: None)
    config = Config()
    unused: Any = object()
    folder: Any = SimpleNamespace(write=lambda _: None, note_ended=lambda: None)
    qemu_host: Any = SimpleNamespace(proxy=lambda _: None)
    image: Any = SimpleNamespace(host_key="ssh-ed25519 AAAA")
    images = dict.fromkeys(Role, image)
    accel = Choice("tcg", "emulation")
    resources = Resources(
        config, plan(config), folder, qemu_host, unused, images, tmp_path / "key", accel
    )
    specs: dict[str, DomainSpec] = {
        role: machine(role, listens=role is listener, folder=tmp_path) for role in Role
    }
    begun: list[str] = []

    def begin(spec: DomainSpec, name: str) -> Any:
        assert spec is specs[name]
        begun.append(name)
        return SimpleNamespace(destroy=lambda: None)

    with ExitStack() as stack:
        assert set(resources._start(specs, begin, stack)) == set(Role)
    assert begun[0] == listener
    assert set(begun) == set(Role)


@pytest.mark.parametrize(("taken", "works"), [(4, True), (5, False)])
def test_other_ports_are_tried_if_somebody_was_faster(
    taken: int, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five times; then it is a failure of the lab like any other."""
    tried: list[object] = []

    @contextmanager
    def lease_ports(*_: object) -> Iterator[tuple[int, ...]]:
        yield (1, 2)

    def start(_: Resources, specs: object, _begin: object, _stack: object) -> dict[Role, Any]:
        tried.append(specs)
        if len(tried) <= taken:
            raise PortTaken("port 1 is taken")
        return {}

    monkeypatch.setattr(module, "lease_ports", lease_ports)
    monkeypatch.setattr(Resources, "_start", start)
    monkeypatch.setattr(Resources, "_specs", lambda *_: "specs")
    config = Config()
    unused: Any = object()
    qemu_host: Any = SimpleNamespace(port_candidates=lambda: ())
    resources = Resources(
        config, plan(config), unused, qemu_host, unused, {}, Path(), Choice("tcg", "")
    )
    with ExitStack() as stack:
        if works:
            assert resources.power_on(stack, {}, unused) == {}
        else:
            with pytest.raises(HarnessError, match="port 1 is taken"):
                resources.power_on(stack, {}, unused)
    assert len(tried) == 5


def test_the_environment_names_the_accelerator_alone() -> None:
    """Why it is that one is told where it was not wanted: a line of the front page is short."""
    config = Config()
    unused: Any = object()
    connection: Any = SimpleNamespace(versions={"QEMU": "7.2"})
    target: Any = SimpleNamespace(describe=lambda: "LIO")
    accel = Choice("tcg", "KVM: /dev/kvm is present but unusable: it hangs")
    resources = Resources(config, plan(config), unused, unused, connection, {}, unused, accel)
    assert resources.describe("6.1", target)["Acceleration"] == "tcg"


def test_the_initiator_learns_what_both_ends_are_told_to_offer() -> None:
    """Its records get the offers, and its sessions are held to what must come of them."""
    config = Config.model_validate(
        {
            "target": {"kind": "iet", "iet": {"header_digest": "CRC32C"}},
            "initiator": {"iscsi": {"data_digest": "CRC32C"}},
        }
    )
    resources: Any = SimpleNamespace(config=config, topology=plan(config))
    machines: Any = {Role.INITIATOR: None}
    target: Any = SimpleNamespace(wwid_of=lambda _: "3600")
    (initiator,) = Resources.initiators(resources, machines, target).values()
    assert isinstance(initiator, IscsiInitiator)
    assert initiator.negotiation.offers == config.initiator.iscsi
    demanded = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}
    assert initiator.negotiation.demanded == demanded
    assert [one.negotiated for one in initiator.planned_sessions()] == [demanded] * 2


@pytest.mark.parametrize(
    ("refusing", "cache", "warnings"), [("", "none", 0), ("images", "writeback", 1)]
)
def test_the_targets_disks_go_past_the_page_cache_where_all_that_they_read_can(
    refusing: str, cache: str, warnings: int, tmp_path: Path
) -> None:
    """An overlay opens the image below it likewise. Tried once, and one warning."""
    config = sized_for(Config(), "kvm")
    tried: list[str] = []

    class Refusing(OwnQemuHost):
        def takes_direct_io(self, folder: Path) -> bool:
            tried.append(folder.name)
            return folder.name != refusing

    (tmp_path / "images").mkdir()
    disk, kernel, initrd = (tmp_path / "images" / name for name in ("disk", "kernel", "initrd"))
    image = BuiltImage("f", disk, kernel, initrd, "root=/dev/vda", "ssh-ed25519 AAAA")
    images = dict.fromkeys(Role, image)
    qemu_host = Refusing(tmp_path / "bed")
    connection: Any = SimpleNamespace(is_embedded=True)
    folder = Folder(tmp_path / "bed")
    resources = Resources(
        config,
        plan(config),
        folder,
        qemu_host,
        connection,
        images,
        tmp_path / "key",
        Choice("kvm", "it works"),
    )
    disks: dict[str, list[Path]] = {
        Role.TARGET: [tmp_path / "bed/system", tmp_path / "bed/lun"],
        Role.INITIATOR: [tmp_path / "bed/own"],
    }
    heard = Heard()
    with listening(heard):
        resources._specs(disks, range(20000, 20010))
        specs = resources._specs(disks, range(20000, 20010))
    assert [disk.cache for disk in specs[Role.TARGET].disks] == [cache, cache]
    assert [disk.cache for disk in specs[Role.INITIATOR].disks] == ["unsafe"]
    assert sorted(tried) == ["bed", "images"]
    assert [f"{tmp_path}/images: no direct I/O" in one for one in heard.warnings] == [
        True
    ] * warnings


def test_a_guest_that_panics_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs on, and would never answer."""
    console = tmp_path / "console.log"
    monkeypatch.setattr(
        SshMachine, "connect", lambda _name, _endpoint, _deadline, still_there: still_there()
    )
    config = Config()
    unused: Any = object()
    spec = SimpleNamespace(ssh_port=2222, console_log=console)
    domain: Any = SimpleNamespace(spec=spec, is_running=True)
    images: Any = {Role.TARGET: SimpleNamespace(host_key="ssh-ed25519 AAAA")}
    qemu_host = OwnQemuHost(tmp_path)
    resources = Resources(
        config, plan(config), unused, qemu_host, unused, images, tmp_path, Choice("tcg", "")
    )
    console.write_text("mount: mounting /dev/vda on /root failed\n")
    resources.log_in(Role.TARGET, domain)
    with console.open("a") as file:
        file.write("Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n")
    with pytest.raises(HypervisorError, match=r"target: the guest's kernel panicked.*\n.*console"):
        resources.log_in(Role.TARGET, domain)


class Heard(Listener):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)
