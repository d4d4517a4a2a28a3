"""What a testbed has no means for, by its configuration alone; pure."""

from __future__ import annotations

from collections.abc import Collection

from harness.config import Config
from harness.faults import Means

_ON_THE_TARGET = (Means.TARGET_CABLE, Means.TARGET_GUEST)


def lacking(config: Config, needs: Collection[Means]) -> str:
    """What of `needs` a testbed of that configuration has not, and why; empty if it has all."""
    if config.target.is_ours:
        return ""
    missing = [need for need in _ON_THE_TARGET if need in needs]
    return f"no {' and no '.join(missing)}, since the target is not ours" if missing else ""
