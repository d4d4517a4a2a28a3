"""The status line of a dm-multipath map.

Source: multipath_status() in drivers/md/dm-mpath.c. Real output, two active paths of one group,
then the first of them failed:

    2 0 0 0 1 1 A 0 2 2 8:0 A 0 0 1 8:16 A 0 0 1
    2 0 0 0 1 1 A 0 2 2 8:0 F 1 0 1 8:16 A 0 0 1
"""

from __future__ import annotations

import re

_PATH = re.compile(r"\b(\d+:\d+) ([AF]) \d+\b")
_STATES = {"A": "active", "F": "failed"}


def parse_multipath_status(line: str) -> dict[str, str]:
    """Device number ("8:16") -> "active" or "failed"; empty for a line of no map."""
    return {device: _STATES[state] for device, state in _PATH.findall(line)}
