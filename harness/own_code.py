"""Digests of the harness's own source, for the keys of what it makes: other code makes another."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable


def digest_of(*names: str) -> str:
    """The digest of every Python file at or below these names in `harness/`, such as `"target"`.

    Raises FileNotFoundError for a name that is not there.
    """
    digest = hashlib.sha256()
    for name in names:
        for source in _sources(files("harness").joinpath(name)):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _sources(found: Traversable) -> list[Traversable]:
    """Every Python file at or below, in a fixed order."""
    if found.is_file():
        return [found] if found.name.endswith(".py") else []
    inside = sorted(found.iterdir(), key=lambda one: one.name)
    return [source for one in inside for source in _sources(one)]
