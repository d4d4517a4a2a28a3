"""How the machines of a testbed are started; stand-ins, since only the order counts."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config import Config
from harness.config.sizes import sized_for
from harness.hypervisor.accel import Choice
from harness.hypervisor.domain_xml import DomainSpec, Nic, TcpCable
from harness.hypervisor.image import BuiltImage
from harness.steps import Listener, listening
from harness.testbed import site as sites
from harness.testbed.folder import Folder
from harness.testbed.place import Here
from harness.testbed.site import Site
from harness.topology import Role, plan


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
    monkeypatch.setattr(sites, "destroy_named", lambda *_: None)
    config = Config()
    unused: Any = object()
    folder: Any = SimpleNamespace(write=lambda _: None, note_ended=lambda: None)
    place: Any = SimpleNamespace(proxy=lambda _: None)
    image: Any = SimpleNamespace(host_key="ssh-ed25519 AAAA")
    images = dict.fromkeys(Role, image)
    accel = Choice("tcg", "emulation")
    site = Site(config, plan(config), folder, place, unused, images, tmp_path / "key", accel)
    specs = {role: machine(role, listens=role is listener, folder=tmp_path) for role in Role}
    begun: list[Role] = []

    def begin(spec: DomainSpec, role: Role) -> Any:
        assert spec is specs[role]
        begun.append(role)
        return SimpleNamespace(destroy=lambda: None)

    with ExitStack() as stack:
        assert set(site._start(specs, begin, stack)) == set(Role)
    assert begun[0] is listener
    assert set(begun) == set(Role)


@pytest.mark.parametrize(
    ("refusing", "cache", "warnings"), [("", "none", 0), ("images", "writeback", 1)]
)
def test_the_targets_disks_go_past_the_page_cache_where_all_that_they_read_can(
    refusing: str, cache: str, warnings: int, tmp_path: Path
) -> None:
    """An overlay opens the image below it likewise. Tried once, and one warning."""
    config = sized_for(Config(), "kvm")
    tried: list[str] = []

    class Place(Here):
        def takes_direct_io(self, folder: Path) -> bool:
            tried.append(folder.name)
            return folder.name != refusing

    (tmp_path / "images").mkdir()
    disk, kernel, initrd = (tmp_path / "images" / name for name in ("disk", "kernel", "initrd"))
    image = BuiltImage("f", disk, kernel, initrd, "root=/dev/vda", "ssh-ed25519 AAAA")
    images = dict.fromkeys(Role, image)
    place = Place(tmp_path / "bed")
    connection: Any = SimpleNamespace(is_embedded=True)
    folder = Folder(tmp_path / "bed")
    site = Site(
        config,
        plan(config),
        folder,
        place,
        connection,
        images,
        tmp_path / "key",
        Choice("kvm", "it works"),
    )
    disks = {
        Role.TARGET: [tmp_path / "bed/system", tmp_path / "bed/lun"],
        Role.INITIATOR: [tmp_path / "bed/own"],
    }
    heard = Heard()
    with listening(heard):
        site._specs(disks, range(20000, 20010))
        specs = site._specs(disks, range(20000, 20010))
    assert [disk.cache for disk in specs[Role.TARGET].disks] == [cache, cache]
    assert [disk.cache for disk in specs[Role.INITIATOR].disks] == ["unsafe"]
    assert sorted(tried) == ["bed", "images"]
    assert [f"{tmp_path}/images: no direct I/O" in one for one in heard.warnings] == [
        True
    ] * warnings


class Heard(Listener):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)
