"""tgt, the target framework of user space: its commands, and what it says that it serves."""

from harness.target.tgt.target import TgtTarget

__all__ = ["TgtTarget"]
