"""Runs a program on this host to its end."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def run_tool(
    argv: Sequence[str], timeout_s: float, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Exit status and both streams as text; no input. Raises as `subprocess.run` does."""
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
        cwd=cwd,
    )
