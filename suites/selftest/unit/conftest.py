"""What unit tests share; the speed of the machine that runs them must not decide."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from suites.selftest.unit.empty_kernel import empty_kernel

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path, whatever TMPDIR is; with a file that QEMU takes for a kernel."""
    directory = Path(tempfile.mkdtemp(prefix="pathproof-", dir="/tmp"))
    directory.joinpath("kernel").write_bytes(empty_kernel())
    yield directory
    shutil.rmtree(directory)
