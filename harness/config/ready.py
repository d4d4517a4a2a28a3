"""The ready topologies: files in `topologies/`, each a part of a testbed's file."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

_FOLDER = files("harness.config").joinpath("topologies")


def topology_names() -> list[str]:
    """What can be named as `topology`, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir())


def ready_topologies() -> dict[str, dict[str, Any]]:
    """What each of them says, by its name."""
    return {
        name: tomllib.loads(_FOLDER.joinpath(f"{name}.toml").read_text())
        for name in topology_names()
    }
