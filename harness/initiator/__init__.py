"""The initiator: open-iscsi, multipath-tools, and what the kernel says of both in sysfs.

Imports `machine`, `observe` and the data layers.
"""

from harness.initiator.attachment import Attachment
from harness.initiator.initiator import Initiator
from harness.initiator.sysfs import Session

__all__ = ["Attachment", "Initiator", "Session"]
