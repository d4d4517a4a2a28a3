"""Golden snapshots: what is believed, and what is found out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.config import load
from harness.config.model import Config
from harness.guest_images.store import BuiltImage
from harness.provision import snapshot as golden
from harness.provision.snapshot import RECORD, Damaged, determinants, is_whole, key_of, opened, seal
from harness.topology import Role
from harness.transport.path_disk import PathDisk

DETERMINED_BY: dict[str, Any] = {"testbed": {"cpus": 1}, "versions": {"QEMU": "7.2.11"}}
NICS: dict[str, dict[str, str]] = {Role.TARGET: {"a": "ens16"}, Role.INITIATOR: {"a": "ens16"}}
PATHS = (PathDisk("a", "sda", "8:0"), PathDisk("b", "sdb", "8:16"))


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A snapshot of a few bytes; its files are what is tested, not what is in them."""
    folder = tmp_path / "abc123"
    folder.mkdir()
    for name in ("target.memory", "initiator.memory", "target-lun0.qcow2"):
        (folder / name).write_bytes(name.encode() * 1000)
    seal(folder, DETERMINED_BY, NICS, {"lun0": PATHS}, {"Guest kernel": "6.1"})
    return folder


def writable(file: Path) -> Path:
    file.chmod(0o600)
    return file


def test_a_whole_snapshot_tells_what_it_holds(sealed: Path) -> None:
    found = opened(sealed, DETERMINED_BY)
    assert found.nics == NICS
    assert found.paths == {"lun0": PATHS}
    assert found.environment == {"Guest kernel": "6.1"}
    found.require_untouched()


def test_a_snapshot_is_not_written_to_by_accident(sealed: Path) -> None:
    assert {file.stat().st_mode & 0o777 for file in sealed.iterdir()} == {0o400}


@pytest.mark.parametrize("name", ["target.memory", "target-lun0.qcow2"])
def test_one_flipped_bit_is_found(sealed: Path, name: str) -> None:
    """Nothing else would notice: the guest would run with it."""
    file = writable(sealed / name)
    content = bytearray(file.read_bytes())
    content[777] ^= 1
    file.write_bytes(content)
    with pytest.raises(Damaged, match=f"{name} has other content"):
        opened(sealed, DETERMINED_BY)


def test_a_truncated_file_is_found(sealed: Path) -> None:
    os.truncate(writable(sealed / "target.memory"), 100)
    with pytest.raises(Damaged, match=r"target\.memory has 100 bytes instead of 13000"):
        opened(sealed, DETERMINED_BY)


def test_a_missing_file_is_found(sealed: Path) -> None:
    (sealed / "initiator.memory").unlink()
    with pytest.raises(Damaged, match=r"initiator\.memory: No such file"):
        opened(sealed, DETERMINED_BY)


def test_a_snapshot_of_other_versions_is_found(sealed: Path) -> None:
    """Whatever its folder is called: the message says what differs."""
    newer = DETERMINED_BY | {"versions": {"QEMU": "10.0.0"}}
    with pytest.raises(Damaged, match="abc123 is of another versions"):
        opened(sealed, newer)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"determined_by": {}, "files": 3}'])
def test_an_unreadable_record_is_found(sealed: Path, text: str) -> None:
    writable(sealed / RECORD).write_text(text)
    with pytest.raises(Damaged, match=f"{RECORD} cannot be used"):
        opened(sealed, DETERMINED_BY)
    assert not is_whole(sealed, DETERMINED_BY)


def test_an_altered_record_is_found(sealed: Path) -> None:
    """It says where paths and NICs are, and which files there must be."""
    record = writable(sealed / RECORD)
    record.write_text(record.read_text().replace("sdb", "sdz"))
    with pytest.raises(Damaged, match="other content"):
        opened(sealed, DETERMINED_BY)


def test_a_file_written_after_it_was_found_whole_is_noticed(sealed: Path) -> None:
    """Also if size and time of the last change were put back."""
    found = opened(sealed, DETERMINED_BY)
    file = writable(sealed / "target.memory")
    before = file.stat()
    with file.open("r+b") as opened_file:
        opened_file.write(b"X")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(Damaged, match=r"target\.memory was changed"):
        found.require_untouched()


def of(config: Config, **changes: Any) -> str:
    """The key of a testbed of `config`, with `changes` to the rest."""
    image = BuiltImage(
        "f1", Path("/images/f1/disk"), Path("k"), Path("i"), "quiet", "ssh-ed25519 A"
    )
    given = {
        "images": dict.fromkeys(Role, image),
        "accel": "tcg",
        "versions": {"QEMU": "7.2.11"},
    } | changes
    return key_of(determinants(config, **given))


def changed(**keys: str) -> Config:
    options = {key.replace("__", "."): (value, "--option") for key, value in keys.items()}
    return load(None, options).config


def test_what_a_run_requires_is_not_in_the_key() -> None:
    """A snapshot serves runs with and without `--require`, and however often they measure."""
    assert of(changed(require="forks,report")) == of(Config())
    assert of(changed(measure_again="0")) == of(Config())


def test_everything_that_shapes_a_testbed_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot is never used for another testbed."""
    other = BuiltImage(
        "f2", Path("/images/f2/disk"), Path("k"), Path("i"), "quiet", "ssh-ed25519 A"
    )
    keys = [
        of(changed()),
        of(changed(initiator__profile="stock")),
        of(changed(target__backstore="block")),
        of(changed(name="another")),
        of(changed(machines__memory="1GiB")),
        of(changed(machines__cpus="2")),
        of(changed(), accel="kvm"),
        of(changed(), versions={"QEMU": "10.0.0"}),
        of(changed(), images=dict.fromkeys(Role, other)),
    ]
    for function in ("_processor", "digest_of"):
        with monkeypatch.context() as patch:
            patch.setattr(golden, function, lambda *_: "another")
            keys.append(of(changed()))
    with monkeypatch.context() as patch:
        patch.setattr("platform.release", lambda: "another kernel")
        keys.append(of(changed()))
    assert len(set(keys)) == len(keys)


def test_what_shapes_no_testbed_is_not_in_the_key() -> None:
    """A snapshot costs half a minute."""
    assert of(changed()) == of(changed(hypervisor__testbeds="7"))
    slack = Config.model_validate({"budget": {"slack_s": 3}, "workload": {"write_iops": 7}})
    assert of(changed()) == of(slack)
