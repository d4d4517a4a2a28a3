"""What tests that plant defects of iSCSI need to know of a testbed."""

from __future__ import annotations

from harness.testbed import Testbed
from harness.transport import IscsiInitiator


def iscsi_initiator(testbed: Testbed) -> IscsiInitiator:
    """The initiator of a testbed, which reaches its LUNs by iSCSI."""
    initiator = testbed.initiator
    assert isinstance(initiator, IscsiInitiator)
    return initiator
