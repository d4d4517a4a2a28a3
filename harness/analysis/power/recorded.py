"""A history of writes and looks as the content of a file, and back: NumPy's .npz."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from harness.errors import ConfigError
from harness.measurements import LookLog, WriteHistory, WriteLog

_WRITES = ("offset", "issued_ns", "acknowledged_ns")
_LOOKS = ("place", "offset", "found", "began_ns", "ended_ns")


def render_history(history: WriteHistory) -> bytes:
    """The content of the file."""
    columns = {f"writes_{name}": getattr(history.writes, name) for name in _WRITES}
    columns |= {f"looks_{name}": getattr(history.looks, name) for name in _LOOKS}
    file = io.BytesIO()
    np.savez_compressed(file, places=np.array(history.looks.places), **columns)
    return file.getvalue()


def parse_history(content: bytes, name: str) -> WriteHistory:
    """The history in the file of that name. Raises ConfigError if it is none."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as columns:
            writes = {one: columns[f"writes_{one}"].astype(np.int64) for one in _WRITES}
            looks = {one: columns[f"looks_{one}"].astype(np.int64) for one in _LOOKS}
            places = tuple(str(place) for place in columns["places"])
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{name} is no recorded history: {error}") from error
    return WriteHistory(WriteLog(**writes), LookLog(places, **looks))
