"""Machines, fabrics, target, initiator and map, ready for I/O: provisioned, observed, removed.

Composes every layer below it; nothing below knows of it.
"""

from harness.testbed.io import IoSession
from harness.testbed.provision import Provisioner, provisioner
from harness.testbed.testbed import Testbed

__all__ = ["IoSession", "Provisioner", "Testbed", "provisioner"]
