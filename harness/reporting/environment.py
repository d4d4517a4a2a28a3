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


def add_to_environment(results: Path, more: Mapping[str, str]) -> None:
    """Put `more` before what environment.properties has, which workers have written."""
    path = results / "environment.properties"
    try:
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        _replace(path, environment_properties(more) + known)
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error


def write_environment(results: Path, environment: Mapping[str, str]) -> Path:
    """Leave environment.properties among the results; a later call replaces it at once."""
    path = results / "environment.properties"
    try:
        results.mkdir(parents=True, exist_ok=True)
        _replace(path, environment_properties(environment))
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error
    return path


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f"environment.{os.getpid()}.tmp")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
