"""Damaged and foreign snapshots on real machines: found out, made anew, and the run is green."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.provision.snapshot import RECORD, _digest, _digest_of
from suites.selftest.private_cache import make_private_cache

TEST = "suites/failover/test_path_loss.py::test_io_runs_clean_without_a_fault"
ANEW = "made anew"


def truncate(snapshot: Path) -> str:
    """It looks as after a power cut: the name is there, half of the content is not."""
    memory = snapshot / "initiator.memory"
    memory.chmod(0o600)
    os.truncate(memory, memory.stat().st_size // 2)
    return "initiator.memory has"


def flip_a_bit(snapshot: Path) -> str:
    """In the middle of the target's memory, where nothing but a digest would notice."""
    memory = snapshot / "target.memory"
    memory.chmod(0o600)
    with memory.open("r+b") as file:
        file.seek(memory.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))
    return "target.memory has other content"


def skew_the_version(snapshot: Path) -> str:
    """It looks as if another QEMU had saved it."""
    rewrite(snapshot, lambda record: record["determined_by"]["versions"].update(QEMU="6.2.0"))
    return "is of another versions"


def hide_that_it_was_truncated(snapshot: Path) -> str:
    """No digest notices, so that QEMU is the first to."""
    truncate(snapshot)
    memory = snapshot / "initiator.memory"
    known = {"size": memory.stat().st_size, "sha256": _digest(memory)}
    rewrite(snapshot, lambda record: record["files"].update({memory.name: known}))
    return "a fork failed"


def rewrite(snapshot: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the snapshot says of itself, under a digest that fits."""
    record = snapshot / RECORD
    record.chmod(0o600)
    content = json.loads(record.read_text())
    del content["sha256"]
    change(content)
    record.write_text(json.dumps(content | {"sha256": _digest_of(content)}))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a snapshot that was used once."""
    cache = tmp_path_factory.mktemp("cache") / "pathproof"
    make_private_cache(cache)
    assert ANEW not in run(cache)
    return cache


def run(cache: Path) -> str:
    """What a green run of one test with that cache says."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", TEST, "--no-report", "-p", "no:cacheprovider"],
        env=os.environ | {"XDG_CACHE_HOME": str(cache.parent)},
        cwd=Path(harness.__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    "damage", [truncate, flip_a_bit, skew_the_version, hide_that_it_was_truncated]
)
def test_a_damaged_snapshot_is_found_and_made_anew(
    cache: Path, damage: Callable[[Path], str]
) -> None:
    """The run says what was wrong, and the next one finds the new snapshot whole."""
    (snapshot,) = (cache / "snapshots").iterdir()
    reason = damage(snapshot)
    said = run(cache)
    assert reason in said
    assert ANEW in said
    assert ANEW not in run(cache)
