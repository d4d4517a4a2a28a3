"""Machines, fabrics, target, initiator and map, ready for I/O: provisioned, observed, removed.

Composes every layer below it; nothing below knows of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.testbed.io import IoSession
    from harness.testbed.provision import Provisioner, provisioner
    from harness.testbed.testbed import Testbed

__all__ = ["IoSession", "Provisioner", "Testbed", "provisioner"]

_HOMES = {"IoSession": "io", "Provisioner": "provision", "provisioner": "provision"}


def __getattr__(name: str) -> Any:
    """Import on demand: who only looks at folders need not wait for SSH and numerics."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'testbed')}"), name)
