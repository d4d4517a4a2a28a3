"""Before the first write: is the testbed as it was planned, and may the LUN be written to.

Facts are gathered on the machines; what follows from them is decided by pure functions.
Imports `initiator`, `machine` and the data layers.
"""

from harness.preflight.claim import claim
from harness.preflight.consent import Answer, Asked
from harness.preflight.masking import masking_for
from harness.preflight.own_target import mark_own, require_mark
from harness.preflight.run import require_fit
from harness.preflight.wiring import End, require_wired

__all__ = [
    "Answer",
    "Asked",
    "End",
    "claim",
    "mark_own",
    "masking_for",
    "require_fit",
    "require_mark",
    "require_wired",
]
