"""What a run ran on, as the front page of the report shows it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.errors import ReportError

_ESCAPES = str.maketrans(
    {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", ":": "\\:", "=": "\\=", " ": "\\ "}
)


def environment_properties(environment: Mapping[str, str]) -> str:
    """The mapping as java.util.Properties.load reads it, in order, without empty values."""
    lines = []
    for name, value in environment.items():
        if not value:
            continue
        escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "")
        lines.append(f"{name.translate(_ESCAPES)}={escaped}\n")
    return "".join(lines)


def write_environment(results: Path, environment: Mapping[str, str]) -> Path:
    """Leave environment.properties among the results; a later call replaces it at once."""
    path = results / "environment.properties"
    fresh = results / f"environment.{os.getpid()}.tmp"
    try:
        results.mkdir(parents=True, exist_ok=True)
        fresh.write_text(environment_properties(environment), encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error
    return path
