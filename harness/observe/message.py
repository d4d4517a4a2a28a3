"""The lines that the resident program prints, as far as their shape goes; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# What each kind of message has besides its own name; see harness.observe.resident.
_KINDS: Mapping[str, frozenset[str]] = {
    "hello": frozenset(),
    "kernel": frozenset({"error"}),
    "lost": frozenset(),
    "sample": frozenset(
        {
            *("disks", "maps", "carriers", "changes", "nics", "beats"),
            *("ahead", "cpu"),
        }
    ),
    "pong": frozenset({"time"}),
    "awake": frozenset(),
    "read": frozenset(),
}
_KERNEL_COLUMNS = 4


def parse_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """The kind of a message, and the message.

    Raises ValueError for a garbled line: no JSON, no kind that there is, or not all that it has.
    """
    message = json.loads(line)
    has = message if isinstance(message, dict) else {}
    kind = next((kind for kind in _KINDS if kind in has), None)
    if kind is None or not message.keys() >= _KINDS[kind]:
        raise ValueError("not a whole message of a known kind")
    if kind == "kernel" and not _is_record(message["kernel"]):
        raise ValueError("not a record of the kernel log")
    return kind, message


def _is_record(record: object) -> bool:
    return isinstance(record, list) and len(record) == _KERNEL_COLUMNS
