"""Where the hypervisor's files are: another host, which is a real sshd on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config import Config
from harness.errors import HypervisorError, MachineError
from harness.guest_images.store import BuiltImage
from harness.host import qemu_host as module
from harness.host.folder import Manifest, claimed
from harness.host.qemu_host import (
    ForeignQemuHost,
    OwnQemuHost,
    console_name,
    is_foreign,
    qemu_host_for,
    reached,
)
from harness.hypervisor.elsewhere import OtherHost
from harness.hypervisor.ports import CANDIDATES
from harness.machine.remote import RemoteHost
from harness.provision import abandoned
from harness.topology import Role
from harness.units import MIB
from suites.selftest.fleet import rig

pytestmark = [
    pytest.mark.skipif(bool(rig.missing()), reason=rig.missing()),
    pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img"),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherHost]:
    """Another host with a cache of its own."""
    folder = tmp_path_factory.mktemp("hosts")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        with rig.rig(folder, ["rack1"], share_cache=True) as running:
            options = ("-F", str(running.hosts[0].folder / "ssh_config"))
            yield OtherHost("rack1", None, None, "ssh", options, is_system=False)


@pytest.fixture
def qemu_host(host: OtherHost) -> Iterator[ForeignQemuHost]:
    with reached(host, "bed-1") as found:
        yield found


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    """Small, with a hole."""
    folder = tmp_path / "an image"
    folder.mkdir()
    disk, kernel, initrd = (folder / name for name in ("disk.ext4", "kernel", "initrd"))
    with disk.open("wb") as file:
        file.write(os.urandom(MIB))
        file.truncate(64 * MIB)
    kernel.write_bytes(os.urandom(3 * MIB))
    initrd.write_text("initrd")
    return BuiltImage("f1", disk, kernel, initrd, "root=/dev/vda", "ssh-ed25519 AAAA")


def content(image: BuiltImage) -> list[bytes]:
    return [file.read_bytes() for file in (image.disk, image.kernel, image.initrd)]


def test_an_image_arrives_whole_and_as_sparse_as_it_was(
    qemu_host: ForeignQemuHost, image: BuiltImage
) -> None:
    there = qemu_host.put(image)
    assert there.disk.parent != image.disk.parent
    assert qemu_host.base in there.disk.parents
    assert content(there) == content(image)
    assert there.disk.stat().st_blocks * 512 < 4 * MIB
    assert (there.cmdline, there.host_key) == (image.cmdline, image.host_key)
    assert [path.name for path in there.disk.parent.parent.glob("draft*")] == []


def test_an_image_is_sent_once(qemu_host: ForeignQemuHost, image: BuiltImage) -> None:
    before = qemu_host.put(image).kernel.stat()
    assert qemu_host.put(image).kernel.stat().st_ino == before.st_ino


def test_another_build_of_a_recipe_is_another_image(
    qemu_host: ForeignQemuHost, image: BuiltImage
) -> None:
    """It has the same fingerprint, and a host key of its own."""
    again = replace(image, host_key="ssh-ed25519 BBBB")
    assert qemu_host.put(image).disk != qemu_host.put(again).disk


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_an_image_that_somebody_tidied_up_is_sent_again(
    qemu_host: ForeignQemuHost, image: BuiltImage, damage: str
) -> None:
    kernel = qemu_host.put(image).kernel
    kernel.unlink()
    if damage == "cut short":
        kernel.write_text("")
    assert content(qemu_host.put(image)) == content(image)


def test_an_image_that_does_not_arrive_is_told_with_the_reason(
    qemu_host: ForeignQemuHost, image: BuiltImage
) -> None:
    elsewhere = replace(qemu_host, base=Path("/proc"))
    with pytest.raises(HypervisorError, match="rack1: an image did not arrive in /proc/images"):
        elsewhere.put(image)


def test_what_is_sent_must_come_to_its_end(qemu_host: ForeignQemuHost) -> None:
    """The command there cannot know that the one here failed."""
    with pytest.raises(MachineError, match="sh failed with exit status 3"):
        qemu_host.machine.pipe(["sh", "-c", "echo half; exit 3"], ["cat"])


def test_disks_are_made_there(qemu_host: ForeignQemuHost, image: BuiltImage) -> None:
    qemu_host.make_folder()
    overlay, disk = qemu_host.folder / "o.qcow2", qemu_host.folder / "d.qcow2"
    there = qemu_host.put(image)
    qemu_host.make_overlay(overlay, there)
    qemu_host.make_disk(disk, 10 * MIB)
    assert facts(overlay)["full-backing-filename"] == str(there.disk)
    assert facts(disk)["virtual-size"] == 10 * MIB
    qemu_host.remove_folder()
    assert not qemu_host.folder.exists()
    qemu_host.remove_folder()


def facts(disk: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        subprocess.check_output(["qemu-img", "info", "--output=json", disk])
    )
    return found


def test_its_console_is_read_there(qemu_host: ForeignQemuHost, tmp_path: Path) -> None:
    log = tmp_path / "console log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert qemu_host.tail(log).splitlines() == [f"line {number}" for number in range(80, 100)]
    assert "No such file" in qemu_host.tail(tmp_path / "missing")


def test_ports_are_those_of_the_host(qemu_host: ForeignQemuHost) -> None:
    ports = qemu_host.port_candidates()
    assert set(ports) <= set(CANDIDATES)
    assert len(ports) > len(CANDIDATES) / 2


def test_the_folder_there_is_known_before_it_is_made_and_goes_with_the_testbed(
    host: OtherHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the testbed is kept, it stays."""
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path))
    config = Config.model_validate({"hypervisor": {"uri": "test:///default"}})
    for kept in (False, True):
        with claimed("bed") as folder:
            with qemu_host_for(host, config, folder) as qemu_host:
                manifest = folder.manifest()
                assert manifest is not None
                assert manifest.uri == config.hypervisor.uri
                assert (qemu_host.folder.is_dir(), qemu_host.folder.name) == (True, folder.name)
                folder.write(replace(manifest, kept=kept))
            assert qemu_host.folder.exists() is kept


def test_this_host_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a copy nor a tunnel."""
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path))
    with claimed("bed") as folder, qemu_host_for(None, Config(), folder) as qemu_host:
        assert qemu_host == OwnQemuHost(folder.path)
        assert qemu_host.proxy(20000) == ()
        assert folder.manifest() is None


def test_a_host_of_a_system_daemon_has_a_place_that_others_may_enter(host: OtherHost) -> None:
    """QEMU runs as a user of its own there, who cannot enter a home."""
    with reached(replace(host, is_system=True), "bed-1") as qemu_host:
        assert qemu_host.base == Path(f"/var/tmp/pathproof-libvirt-{os.getuid()}")
        assert qemu_host.base.stat().st_mode & 0o777 == 0o711
        with suppress(OSError):  # it may be in use
            for folder in (qemu_host.base / "images", qemu_host.base / "testbeds", qemu_host.base):
                folder.rmdir()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForeignQemuHost]:
    """This host, for a libvirt whose QEMUs run as somebody else."""
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path / "state"))
    with reached(None, "bed-1") as found:
        yield found


def test_a_system_daemon_of_this_host_gets_copies_of_its_own(
    own: ForeignQemuHost, image: BuiltImage
) -> None:
    """libvirt gives files to QEMU's user; what an overlay reads through to it stays there."""
    assert own.base == Path(f"{os.environ['PATHPROOF_STATE']}-libvirt")
    assert own.base.stat().st_mode & 0o777 == 0o711
    copied = own.put(image)
    assert own.base in copied.disk.parents
    assert content(copied) == content(image)
    own.make_folder()
    own.make_overlay(own.folder / "o.qcow2", copied)
    assert facts(own.folder / "o.qcow2")["full-backing-filename"] == str(copied.disk)
    assert own.proxy(20000) == ()


def test_a_place_of_its_own_is_what_qemus_of_another_user_or_host_need() -> None:
    needing = {
        uri: is_foreign(uri)
        for uri in (
            *("embedded", "qemu:///session", "qemu:///system", "qemu+unix:///system"),
            *("qemu+ssh://rack1/session", "qemu+ssh://rack1/system", "test:///default"),
        )
    }
    assert [uri for uri, needs in needing.items() if not needs] == [
        *("embedded", "qemu:///session", "test:///default")
    ]


def test_consoles_are_there_before_libvirts_log_daemon_makes_them_unreadable(
    own: ForeignQemuHost,
) -> None:
    own.make_folder()
    modes = {file.name: file.stat().st_mode & 0o777 for file in own.folder.iterdir()}
    assert modes == {console_name(role): 0o644 for role in Role}


def test_direct_io_is_tried(own: ForeignQemuHost) -> None:
    """The kernel decides, and no file is left. Where no file can be made there is none."""
    own.make_folder()
    try:
        os.close(os.open(own.folder / "x", os.O_CREAT | os.O_WRONLY | os.O_DIRECT))
    except OSError:
        works = False
    else:
        works = True
    before = sorted(own.folder.iterdir())
    assert own.takes_direct_io(own.folder) is works
    assert OwnQemuHost(own.folder).takes_direct_io(own.folder) is works
    assert sorted(own.folder.iterdir()) == before
    assert not own.takes_direct_io(own.folder / "none")


def test_where_libvirt_does_not_answer_no_folder_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `reap` goes by, the testbed's own folder, is removed then: there are no machines."""
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path / "state"))
    uri = f"qemu+unix:///system?socket={tmp_path}/none"
    config = Config.model_validate({"hypervisor": {"uri": uri}})
    with claimed("bed") as folder, qemu_host_for(None, config, folder) as qemu_host:
        assert qemu_host.folder.is_dir()
    assert not qemu_host.folder.exists()
    assert not folder.path.exists()


def test_what_a_killed_run_left_on_this_host_is_removed_outside_its_folder_too(
    own: ForeignQemuHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of disks is where the manifest's libvirt has it."""
    monkeypatch.setattr(module, "is_system", lambda _: True)
    monkeypatch.setattr(abandoned, "other_host", lambda _: None)
    with claimed("bed") as folder:
        left = replace(own, folder=own.base / "testbeds" / folder.name)
        left.make_folder()
        folder.write(Manifest("bed", "test:///default", kept=False, machines={}, domains=("x",)))
        abandoned.end_domains(folder)
        folder.note_ended()
    assert not left.folder.exists()


def test_a_tunnel_leads_to_the_hosts_loopback() -> None:
    machine = RemoteHost("rack1", ["ssh", "-p", "22"], "me@rack1")
    assert machine.tunnel(20001) == ("ssh", "-p", "22", "-W", "127.0.0.1:20001", "me@rack1")
