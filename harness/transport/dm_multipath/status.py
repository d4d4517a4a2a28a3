"""The status line of a dm-multipath map.

Source: multipath_status() in drivers/md/dm-mpath.c. Real output, two active paths of one group,
then the first of them failed; then a group for each path, of which the first is in use:

    2 0 0 0 1 1 A 0 2 2 8:0 A 0 0 1 8:16 A 0 0 1
    2 0 0 0 1 1 A 0 2 2 8:0 F 1 0 1 8:16 A 0 0 1
    2 0 0 0 2 1 A 0 1 2 8:0 A 0 0 1 E 0 1 2 8:16 A 0 0 1
"""

from __future__ import annotations

import re

_PATH = re.compile(r"\b(\d+:\d+) ([AF]) \d+\b")
_GROUP = re.compile(r"\b([ADE]) 0 \d+ \d+((?: \d+:\d+ [AF](?: \d+\b(?!:))+)+)")
_STATES = {"A": "active", "F": "failed"}


def parse_multipath_status(line: str) -> dict[str, str]:
    """Device number ("8:16") -> "active" or "failed"; empty for a line of no map."""
    return {device: _STATES[state] for device, state in _PATH.findall(line)}


def parse_reserve(line: str) -> frozenset[str] | None:
    """Device numbers of paths in groups that are not in use; None as long as no group is.

    A map that was just loaded has none in use until the next I/O, nor has a line of no map.
    """
    groups = _GROUP.findall(line)
    if not any(state == "A" for state, _ in groups):
        return None
    return frozenset(
        device for state, paths in groups if state != "A" for device, _ in _PATH.findall(paths)
    )
