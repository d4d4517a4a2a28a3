"""tgt, the target framework of user space: what it is told, what it says it serves."""

from harness.target.tgt.target import TgtTarget

__all__ = ["TgtTarget"]
