"""IET, the iSCSI Enterprise Target: ietd, ietadm and the kernel module iscsi_trgt.

Like its siblings it imports `machine` and the data layers. docs/iet.md is for those who use it.
"""

from harness.target.iet.target import IetTarget

__all__ = ["IetTarget"]
