"""What a testbed has no means for, by its configuration alone; pure."""

from __future__ import annotations

from collections.abc import Collection

from harness.config import Config
from harness.faults import Means


def lacking(config: Config, needs: Collection[Means]) -> str:
    """What of `needs` a testbed of that configuration has not, and why; empty if it has all."""
    of_others = {
        Means.TARGET_CABLE: "" if config.target.is_ours else "target",
        Means.TARGET_GUEST: "" if config.target.is_ours else "target",
        Means.INITIATOR_CABLE: "" if config.initiator.is_ours else "initiator",
    }
    missing = [
        f"no {need}, since the {of_others[need]} is not ours"
        for need in of_others
        if need in needs and of_others[need]
    ]
    return "; ".join(missing)
