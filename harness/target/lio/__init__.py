"""LIO, the kernel's own target: what it is to serve, what it does serve, and the machine."""

from harness.target.lio.saveconfig import (
    AccessState,
    Serving,
    every_target,
    one_group_each,
    render,
    serving,
    wwid_of,
)
from harness.target.lio.target import SAVED, LioTarget

__all__ = [
    "SAVED",
    "AccessState",
    "LioTarget",
    "Serving",
    "every_target",
    "one_group_each",
    "render",
    "serving",
    "wwid_of",
]
