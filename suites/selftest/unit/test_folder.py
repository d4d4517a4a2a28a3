"""Folders of testbeds: claimed, owned, reaped; with real processes that die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import harness
from harness.concurrency import side_by_side
from harness.errors import ConfigError, HarnessError, HypervisorError
from harness.host import folder as folders
from harness.host.folder import (
    Address,
    Folder,
    Manifest,
    UnreadableManifest,
    all_folders,
    base,
    claimed,
    reap,
)
from suites.selftest import needs

CLAIM_UNTIL_TOLD = """
import sys
from harness.host.folder import claimed
with claimed("theirs") as folder:
    print(folder.path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of this test's own."""
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@contextmanager
def another_owner() -> Iterator[tuple[subprocess.Popen[str], Folder]]:
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM_UNTIL_TOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(harness.__file__).parent.parent,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, Folder(Path(process.stdout.readline().strip()))
        finally:
            process.kill()


def manifest(*, kept: bool) -> Manifest:
    key = Address(2222, "/keys/id_ed25519", "ssh-ed25519 AAAA")
    return Manifest("mine", "embedded", kept, {"target": key, "initiator": key}, ("t", "i"))


def left_behind(name: str, *, kept: bool = False) -> Folder:
    """An owner that died leaves it so."""
    folder = Folder(base() / name)
    folder.path.mkdir()
    (folder.path / "lock").touch()
    folder.write(manifest(kept=kept))
    return folder


def nothing_runs(_: Folder) -> None:
    """There are no domains in these tests."""


def test_a_claimed_folder_is_owned_and_private(state: Path) -> None:
    """Named after the testbed, closed to all other users."""
    with claimed("mine") as folder:
        assert folder.path.parent == state
        assert folder.name.startswith("mine-")
        assert folder.owned()
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert state.stat().st_mode & 0o777 == 0o700
        assert folder.root.parent == folder.path


def test_two_claims_of_one_name_do_not_meet() -> None:
    """Two runs side by side are the usual case."""
    with claimed("mine") as one, claimed("mine") as two:
        assert one.path != two.path
        assert all_folders() == sorted([one, two], key=lambda folder: folder.path)


def test_a_folder_is_gone_after_its_block_also_after_a_failure() -> None:
    """It stays if it is to be kept."""
    with claimed("mine") as folder:
        (folder.path / "disk.qcow2").touch()
    assert not folder.path.exists()
    with pytest.raises(RuntimeError), claimed("mine") as folder:
        raise RuntimeError
    assert all_folders() == []


def test_a_kept_folder_stays_and_has_no_owner() -> None:
    """A later command may use it, or remove it."""
    with claimed("mine") as folder:
        folder.write(manifest(kept=True))
    assert folder.path.exists()
    assert not folder.owned()


def test_a_manifest_is_read_back_as_it_was_written() -> None:
    """By another process."""
    with claimed("mine") as folder:
        assert folder.manifest() is None
        folder.write(manifest(kept=False))
        assert folder.manifest() == manifest(kept=False)
        folder.write(manifest(kept=True))
        assert folder.manifest() == manifest(kept=True)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "null", '{"machines": {"t": 1}}', "\0", '{"machines": []}']
)
def test_a_testbed_whose_manifest_cannot_be_read_is_left_alone(content: str) -> None:
    """Its machines may run on another host. The others are removed, and it is told of."""
    folder = left_behind("mine-1")
    (folder.path / "testbed.json").write_text(content)
    left_behind("mine-2")
    with pytest.raises(UnreadableManifest, match="it is unknown where its machines run"):
        folder.manifest()
    with pytest.raises(HarnessError) as error:
        reap(nothing_runs, kept_too=True)
    assert "mine-1: " in str(error.value)
    assert f"none of them runs any more, then remove {folder.path}" in str(error.value)
    assert [one.name for one in all_folders()] == ["mine-1"]


def test_one_of_a_newer_version_is_left_alone() -> None:
    """It may say what this version does not know."""
    folder = left_behind("mine-1", kept=True)
    file = folder.path / "testbed.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"region": "eu"}))
    with pytest.raises(HarnessError, match="region"):
        reap(nothing_runs, kept_too=True)
    assert folder.path.exists()


def test_one_whose_owner_died_before_it_wrote_a_manifest_is_removed() -> None:
    """No machine was started by then."""
    folder = left_behind("mine-1")
    (folder.path / "testbed.json").unlink()
    assert folder.manifest() is None
    assert reap(nothing_runs) == ["mine-1"]


def test_the_lock_is_released_when_its_owner_is_killed() -> None:
    """With -9, which gives it no chance to do so itself."""
    with another_owner() as (owner, folder):
        assert folder.owned()
        assert reap(nothing_runs) == []
        owner.kill()
        owner.wait()
        assert folder.path.exists()
        assert not folder.owned()
        assert reap(nothing_runs) == [folder.name]
        assert not folder.path.exists()


def test_reaping_ends_the_domains_before_it_removes_their_disks() -> None:
    """A guest that lives on without its disk is worse than either."""
    folder = left_behind("mine-1")
    seen: list[tuple[Folder, bool]] = []
    reap(lambda f: seen.append((f, f.path.exists())))
    assert seen == [(folder, True)]


def test_reaping_spares_what_is_owned_and_what_is_kept() -> None:
    """Only the dead are removed."""
    left_behind("dead-1")
    kept = left_behind("kept-1", kept=True)
    with claimed("mine") as mine:
        assert reap(nothing_runs) == ["dead-1"]
        assert all_folders() == [kept, mine]


def test_kept_testbeds_are_reaped_on_request_by_name() -> None:
    """One of them, or all."""
    for number in range(3):
        left_behind(f"kept-{number}", kept=True)
    assert reap(nothing_runs, kept_too=True, name="kept-1") == ["kept-1"]
    assert reap(nothing_runs, kept_too=True) == ["kept-0", "kept-2"]


def test_one_that_cannot_be_removed_does_not_protect_the_others() -> None:
    """All are tried, then the failures are told."""
    left_behind("a-1")
    left_behind("b-1")

    def end_domains(folder: Folder) -> None:
        if folder.name == "a-1":
            raise HypervisorError("libvirt does not answer")

    with pytest.raises(Exception, match="a-1: libvirt does not answer"):
        reap(end_domains)
    assert [f.name for f in all_folders()] == ["a-1"]


def test_a_folder_without_a_lock_is_what_a_dead_maker_left(state: Path) -> None:
    """A folder is seen once it has its lock: makers and reapers exclude each other."""
    base()
    (state / "halfway-abc123").mkdir(mode=0o700)
    assert reap(nothing_runs) == ["halfway-abc123"]


def test_many_reap_at_once(state: Path) -> None:
    """The workers of one run do that when they begin."""
    base()
    for number in range(20):
        (state / f"left-{number}").mkdir(mode=0o700)
        (state / f"left-{number}" / "lock").touch()
    reaped = side_by_side(*[lambda: reap(nothing_runs)] * 6)
    assert sorted(name for names in reaped for name in names) == sorted(
        f"left-{number}" for number in range(20)
    )
    assert all_folders() == []


def test_files_beside_the_folders_are_left_alone(state: Path) -> None:
    """They are no testbeds."""
    base()
    (state / "note").touch()
    assert all_folders() == []
    assert reap(nothing_runs) == []


def test_a_state_folder_that_is_a_link_is_refused(state: Path, tmp_path: Path) -> None:
    """In /var/tmp anybody could have put it there."""
    (tmp_path / "real").mkdir()
    state.symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="belongs to another user") as refusal:
        base()
    assert "PATHPROOF_STATE" in refusal.value.hint


@pytest.mark.skipif(os.getuid() != 0, reason=needs.ROOT)
def test_a_state_folder_of_somebody_else_is_refused(state: Path) -> None:
    """They could read the keys and swap the disks."""
    state.mkdir()
    os.chown(state, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to another user"):
        base()


def test_too_little_space_is_told_before_anything_is_made(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up in the middle looks like a broken storage."""
    monkeypatch.setattr(folders, "NEEDED", 2**60)
    with pytest.raises(ConfigError, match="free, and a testbed needs"), claimed("mine"):
        pytest.fail("there is no such disk")
    assert list(state.iterdir()) == []
