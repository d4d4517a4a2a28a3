"""A testbed that is ready for I/O, and what tests do with it: measure I/O while paths are lost.

Composes every layer below it; how a testbed comes to be is `harness.provision`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.testbed.io_session import IoSession
    from harness.testbed.testbed import Testbed

__all__ = ["IoSession", "Testbed"]

_HOMES = {"IoSession": "io_session", "Testbed": "testbed"}


def __getattr__(name: str) -> Any:
    """Import on demand: who only names the types need not wait for SSH and numerics."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
