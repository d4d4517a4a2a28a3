"""Arrays of what was sampled; see `harness.measurements` for their order and length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def nothing() -> Ints:
    """An array without an entry."""
    return np.empty(0, dtype=np.int64)
