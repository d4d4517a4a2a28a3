"""What is accepted of the job on the fresh machine; pure but for reading one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TOO_BUSY = "too busy to compare"  # says a check that is unknown for that reason


def only_verdict(reports: Path, otherwise: str) -> dict[str, Any]:
    """The verdict of a run with one test. Raises AssertionError that says `otherwise`."""
    files = list(reports.glob("20*/verdicts/*.json"))
    assert len(files) == 1, f"one verdict was expected, and there are {len(files)}; {otherwise}"
    verdict: dict[str, Any] = json.loads(files[0].read_text())
    return verdict


def accepted(check: Mapping[str, Any]) -> bool:
    """Whether a check passed, or could not tell since the host was too busy: no package mends it.

    A check that fails is never accepted, whatever it says of the host.
    """
    verdict = check["verdict"]
    return verdict == "pass" or (verdict == "unknown" and _TOO_BUSY in check["message"])
