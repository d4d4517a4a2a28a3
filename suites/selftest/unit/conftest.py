"""What unit tests share; the speed of the machine that runs them must not decide."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from harness.faults import callout_records
from suites.selftest.unit.empty_kernel import empty_kernel

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


UNIT = Path(__file__).parent
# The slowest takes some 20 s; one that hangs must fail and say where, not hold up CI for hours.
LIMIT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(UNIT):
            item.add_marker(pytest.mark.timeout(LIMIT_S))


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of testbeds, and of what callouts broke, of this test's own."""
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path / "state"))
    yield tmp_path / "state"
    while callout_records._own:
        _, (descriptor, _) = callout_records._own.popitem()
        os.close(descriptor)


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path, whatever TMPDIR is; with a file that QEMU takes for a kernel."""
    directory = Path(tempfile.mkdtemp(prefix="pathproof-", dir="/tmp"))
    directory.joinpath("kernel").write_bytes(empty_kernel())
    yield directory
    shutil.rmtree(directory)
