"""Runs pytest on a suite of a few lines, with Pathproof's plugin, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
WITH_PLUGIN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
pytest_plugins = ["harness.plugin"]
"""


def run_suite(
    folder: Path, tests: str, *options: str, conftest: str = ""
) -> subprocess.CompletedProcess[str]:
    """`tests` as a suite of its own in `folder`, whose reports go there, too."""
    suite = folder / "suites" / "failover"
    suite.mkdir(parents=True)
    (folder / "conftest.py").write_text(WITH_PLUGIN + conftest)
    (suite / "test_loss.py").write_text(tests)
    argv = [sys.executable, "-m", "pytest", "--rootdir", str(folder), "-p", "no:cacheprovider",
            "suites", *options]  # fmt: skip
    return subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "COLUMNS": "200"},
    )  # fmt: skip
