"""The stages of provisioning, by the titles of their steps: whoever measures relies on these."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """In the order in which they happen; ALL begins with START and ends after FIRST_IO."""

    IMAGES = "Images"
    ALL = "Provision the testbed"
    START = "Start both machines"
    BOOT = "Wait until both answer SSH"
    CONFIGURE = "Configure both machines"
    FIRST_IO = "First verified I/O"
