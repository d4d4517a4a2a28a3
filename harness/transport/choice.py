"""Which transport a configuration asks for. There is one."""

from __future__ import annotations

from harness.config import Config
from harness.transport.base import Transport
from harness.transport.iscsi_multipath import IscsiMultipath

_ISCSI_MULTIPATH = IscsiMultipath()


def transport_for(_: Config) -> Transport:
    """The transport of a testbed."""
    return _ISCSI_MULTIPATH
