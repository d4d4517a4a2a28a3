"""What helps against sessions that are not as planned; each transport has its own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Advice:
    """A sentence for each thing that can be wrong with a session, "" if there is none.

    `timeouts`: where each timeout is set, by its name. Values that both ends agree on may be
    `differing` from what was asked for, or `not_shown` by the driver.
    """

    timeouts: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    too_many: str = ""
    not_up: str = ""
    not_connected: str = ""
    differing: str = ""
    not_shown: str = ""


NO_ADVICE = Advice()
