"""The stages of provisioning, by the titles of their steps: whoever measures relies on these."""

from __future__ import annotations

from enum import StrEnum


class StepTitle(StrEnum):
    """What takes time, in the order in which it happens. ALL spans everything after IMAGES.

    A cold testbed takes START to FIRST_IO and what follows; making a golden snapshot, which
    happens once, is GOLDEN: a cold testbed, then SAVE. A fork takes RESTORE and WAKE.
    """

    IMAGES = "Images"
    ALL = "Provision the testbed"
    GOLDEN = "Make a golden snapshot"
    START = "Start the machines"
    BOOT = "Wait until both answer SSH"
    CONFIGURE = "Configure the machines"
    FIRST_IO = "First verified I/O"
    SAVE = "Save the machines"
    RESTORE = "Restore the machines"
    WAKE = "Wake the machines"
