"""A secret is planted in a whole run on real machines; then all that it wrote is searched."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from suites.selftest.private_cache import make_private_cache

TEST = "suites/failover/test_path_loss.py::test_io_runs_clean_without_a_fault"
PLANTED = ("PlantedIncoming4711", "PlantedOutgoing4712")


@pytest.fixture
def written() -> Iterator[Path]:
    """A folder whose path is short enough for libvirt's sockets."""
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        yield Path(folder)


def test_nothing_that_a_run_leaves_has_the_secret(tmp_path: Path, written: Path) -> None:
    """Terminal, results, report, verdicts, cache and the folder of testbeds."""
    credentials = tmp_path / "chap.toml"
    credentials.touch(mode=0o600)
    credentials.write_text(
        f'[incoming]\nuser = "initiator-1"\nsecret = "{PLANTED[0]}"\n'
        f'[outgoing]\nuser = "target-1"\nsecret = "{PLANTED[1]}"\n'
    )
    make_private_cache(written / "cache" / "pathproof")
    folders = {
        "XDG_CACHE_HOME": str(written / "cache"),
        "PATHPROOF_STATE": str(written / "state"),
        "TMPDIR": str(tmp_path),
    }
    with (written / "terminal").open("wb") as terminal:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", TEST, "-vv", "--showlocals",
             f"--credentials={credentials}", f"--reports={written / 'reports'}"],
            cwd=Path(harness.__file__).parents[1], env=os.environ | folders, stdout=terminal,
            stderr=subprocess.STDOUT, timeout=600, check=False,
        )  # fmt: skip
    said = (written / "terminal").read_text()
    assert done.returncode == 0, said
    assert "1 passed" in said
    assert "a snapshot would keep the CHAP secrets" in said
    files = [file for file in written.rglob("*") if file.is_file() and file.stat().st_size]
    assert any(file.name == "verdict.json" or file.parent.name == "verdicts" for file in files)
    assert [file for file in files if has_secret(file)] == []


def has_secret(file: Path) -> bool:
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return any(content.find(secret.encode()) >= 0 for secret in PLANTED)


def test_the_search_would_find_it(tmp_path: Path) -> None:
    """In the middle of a file, too."""
    file = tmp_path / "file"
    file.write_bytes(bytes(10_000) + PLANTED[1].encode() + bytes(10_000))
    assert has_secret(file)
