"""What tests that plant defects of iSCSI need to know of a testbed."""

from __future__ import annotations

from harness.testbed import Testbed
from harness.topology import Role
from harness.transport import IscsiInitiator


def iscsi_initiator(testbed: Testbed) -> IscsiInitiator:
    """The initiator of a testbed, which reaches its LUNs by iSCSI."""
    initiator = testbed.initiator
    assert isinstance(initiator, IscsiInitiator)
    return initiator


def set_recovery_tmo(testbed: Testbed, seconds: int) -> None:
    """Change it for every session, past multipathd, and make sure that it is so."""
    files = "/sys/class/iscsi_session/*/recovery_tmo"
    script = f"for file in {files}; do echo {seconds} >$file; cat $file; done"
    said = testbed.machine(Role.INITIATOR).sh(script).stdout
    assert set(said.split()) == {str(seconds)}
