"""Figures of one LUN: what several have between them is no figure of theirs."""

from __future__ import annotations

from harness.config import Config
from harness.errors import ConfigError


def require_one_lun(config: Config) -> None:
    """Raises ConfigError if the testbed would have several LUNs, before it is made."""
    if len(config.luns) > 1:
        raise ConfigError(
            f"luns: this measures one LUN, and the testbed has {len(config.luns)}",
            hint="leave [[luns]] out, or take a topology with one LUN: --topology two",
        )
