"""What was read back of all acknowledged writes, and what was wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MAP = "map"  # where a block was read, if not over one path


class Damage(StrEnum):
    """What can be wrong with a block; docs/measuring.md has a sentence for each."""

    BLANK = "blank"
    FOREIGN = "foreign"
    MISDIRECTED = "misdirected"
    TORN = "torn"
    LOST = "lost"
    CAME_BACK = "came back"
    UNREADABLE = "unreadable"
    CHANGED = "changed"


@dataclass(frozen=True)
class BlockFinding:
    """A block that is not what was acknowledged, and where it was read: MAP or a path's name."""

    offset: int
    place: str
    damage: Damage
    detail: str = ""

    def __str__(self) -> str:
        text = f"{self.damage} at offset {self.offset} ({self.place})"
        return f"{text}: {self.detail}" if self.detail else text


@dataclass(frozen=True)
class ReadBack:
    """The full read-back of everything acknowledged, after healing, at each place: MAP and paths.

    `acknowledged` counts blocks, `checked` those read, by place, and `verified` those that fio
    itself read back while it ran. `away` says why a path could not be read. Where a path has what
    the map has, a wrong block is a finding of the map alone.

    `compared` counts the pieces of what no test writes to that were compared, `changed` are the
    findings there, and `not_compared` says why that is not known. Everything was read once more
    after `again_after_s`, unless that is zero.

    `other_luns` are places that lead to another LUN than before, with its identity; `silent` are
    those that do not say which LUN they are, and why. `identity` is what they were compared with,
    "" if the LUN does not tell.
    """

    acknowledged: int
    verified: int
    checked: Mapping[str, int]
    findings: tuple[BlockFinding, ...] = ()
    away: Mapping[str, str] = field(default_factory=dict)
    compared: int = 0
    changed: tuple[BlockFinding, ...] = ()
    not_compared: str = ""
    again_after_s: float = 0.0
    other_luns: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
