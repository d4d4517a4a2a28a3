"""Before the first write: is the testbed as it was planned, and may the LUN be written to.

Facts are gathered on the initiator; what follows from them is decided by pure functions.
Imports `initiator`, `machine` and the data layers.
"""

from harness.preflight.run import require_fit

__all__ = ["require_fit"]
