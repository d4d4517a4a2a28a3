"""Sizes and durations as people write them, and back."""

from __future__ import annotations

import re

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
    "tib": 1024 * GIB,
}

_TOO_LARGE = 1 << 63  # no offset of Linux reaches so far


def parse_size(text: str | int) -> int:
    """Bytes from `"10GB"` (powers of 1000), `"768MiB"` (powers of 1024) or a plain number.

    Raises ValueError, naming the units that are understood, or how large a size may be.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    unit = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(
            f"{text!r} is not a size; write a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"
        )
    size = float(match[1]) * unit
    if size >= _TOO_LARGE:
        raise ValueError(f"{text!r} is too large; sizes are less than 8 EiB")
    return round(size)


def format_size(size: float) -> str:
    """The shortest binary form: `"10.0 MiB"`."""
    if round(abs(size)) < KIB:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= KIB
        if round(abs(size), 1) < KIB:
            return f"{size:.1f} {unit}"
    return f"{size / KIB:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """`"4 ms"`, `"2.94 s"` or `"3 min 20 s"`."""
    if round(abs(seconds) * 1000) < 1000:
        return f"{seconds * 1000:.0f} ms"
    if round(abs(seconds), 2) < 100:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(abs(seconds)), 60)
    return f"{'-' if seconds < 0 else ''}{minutes} min {rest} s"
