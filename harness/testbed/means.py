"""What a testbed has no means for, by its configuration alone; pure."""

from __future__ import annotations

from collections.abc import Collection

from harness.config import Config
from harness.faults import Fault, Means, Possible
from harness.topology import Role

_BECAUSE = {
    Role.TARGET: "the target is external",
    Role.INITIATOR: "the initiator is an existing machine",
}
_AT = {
    Means.TARGET_CABLE: Role.TARGET,
    Means.TARGET_GUEST: Role.TARGET,
    Means.TARGET_VM: Role.TARGET,
    Means.LIO: Role.TARGET,
    Means.INITIATOR_CABLE: Role.INITIATOR,
    Means.INITIATOR_NIC: Role.INITIATOR,
    Means.INITIATOR_DAEMONS: Role.INITIATOR,
}


def lacking(config: Config, needs: Collection[Means]) -> str:
    """What of `needs` a testbed of that configuration has not, and why; empty if it has all."""
    made = {Role.TARGET: config.target.is_made, Role.INITIATOR: config.initiator.is_made}
    missing = {
        role: [means for means, at in _AT.items() if at is role and means in needs]
        for role in Role
        if not made[role]
    }
    if made[Role.TARGET] and Means.LIO in needs and config.target.kind != "lio":
        return f"it needs {Means.LIO}, and the target is of kind {config.target.kind}"
    return "; ".join(
        f"it needs {' and '.join(means)}, and {_BECAUSE[role]}"
        for role, means in missing.items()
        if means
    )


def possible(config: Config) -> Possible:
    """Whether a testbed of that configuration has the means for a fault."""

    def has_means(fault: Fault) -> bool:
        return not lacking(config, fault.needs)

    return has_means
