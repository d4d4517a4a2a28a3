"""When a test of the harness's own may be skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SELFTEST = Path(__file__).parents[1]
TESTS = """
import pytest
from suites.selftest.needs import BLOCK_DEVICE, ROOT

@pytest.mark.skipif(True, reason=ROOT)
def test_by_root_only():
    pass

@pytest.mark.skipif(True, reason="needs root, or unshare")
def test_with_two_reasons_in_one():
    pass

@pytest.mark.skipif(True, reason="sshd is not installed (Debian: openssh-server)")
def test_over_ssh():
    pass

def test_in_a_browser():
    pytest.skip("chromium is not installed")

@pytest.fixture
def storage():
    pytest.skip(BLOCK_DEVICE)

def test_fast(storage):
    pass

@pytest.mark.xfail(reason="known")
def test_known():
    assert False
"""


def outcome(folder: Path, ci: str) -> tuple[str, str]:
    """The last line of a run of TESTS, and all lines."""
    shutil.copy(SELFTEST / "conftest.py", folder)
    (folder / "test_it.py").write_text(TESTS)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), "."]
    env = os.environ | {"CI": ci, "PYTHONPATH": str(SELFTEST.parents[1])}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[-1], done.stdout


def test_in_ci_a_skip_that_a_package_would_spare_is_a_failure(tmp_path: Path) -> None:
    """Named with its reason; rights and hardware are no package's business."""
    last, said = outcome(tmp_path, "true")
    assert "1 failed, 2 skipped, 1 xfailed, 2 errors" in last
    assert "skipped in CI: sshd is not installed (Debian: openssh-server)" in said
    assert "skipped in CI: chromium is not installed" in said
    assert "skipped in CI: needs root, or unshare" in said  # that it begins well does not count


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    """A developer may have no browser on the host where the tests run."""
    assert "5 skipped, 1 xfailed" in outcome(tmp_path, "")[0]
