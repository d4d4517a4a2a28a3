"""What a target can do, as data: what a kind is known for, or what a probe has seen."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Capabilities:
    """What one LUN and its target can do; what they do not report counts as missing.

    The names are what a test may require. SPC-4 and SBC-3 define them, RFC 7143 CHAP.
    """

    alua: bool = False
    persistent_reservations: bool = False
    unmap: bool = False
    compare_and_write: bool = False
    chap: bool = False
    mutual_chap: bool = False

    def lacking(self, *names: str) -> tuple[str, ...]:
        """Those of `names` that the target lacks. Raises ValueError for an unknown name."""
        known = [field.name for field in fields(self)]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"no capability {', '.join(unknown)}; there are {', '.join(known)}")
        return tuple(name for name in names if not getattr(self, name))
