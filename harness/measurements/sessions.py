"""The sessions of an initiator with its targets, one a path: as planned, and as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite


@dataclass(frozen=True)
class Timeout:
    """A timeout that is in force on a session, in seconds.

    `value` is what was read, `seconds` the limit that it sets: infinite if it is off.
    """

    name: str
    value: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.value} s" if isfinite(self.seconds) else "off"


@dataclass(frozen=True)
class SessionSettings:
    """What is in force on the session of one path.

    `timeouts` are those by which a silent path is given up, one after another; `text` has them for
    people. `through` is the link that the initiator's end of the connection is on: "" if on none.
    `connected_to` is the portal at its other end, "" if there is none, and `negotiated` what both
    ends agreed on, as far as the driver tells; of `unsettled` nothing was agreed on, whatever it
    tells. All that says something only if the session `is_up`; `state` is the kernel's word for
    that. `target` is its target's name: a path has a session for each target.
    """

    path: str
    timeouts: tuple[Timeout, ...]
    text: str = ""
    through: str = ""
    connected_to: str = ""
    negotiated: Mapping[str, str] = field(default_factory=dict)
    unsettled: frozenset[str] = frozenset()
    state: str = ""
    is_up: bool = True
    target: str = ""

    @property
    def gives_up_s(self) -> float:
        """How long a silent path may keep its I/O; infinite where nothing limits it."""
        return sum(one.seconds for one in self.timeouts)


@dataclass(frozen=True)
class PlannedSession:
    """The plan of a session. `timeouts` by name are those that are demanded, in seconds.

    Its connection must be from the link `through` to `portal`; `negotiated` holds the values that
    were asked for. `target` is the IQN of its target.
    """

    path: str
    timeouts: Mapping[str, int] = field(default_factory=dict)
    portal: str = ""
    through: str = ""
    negotiated: Mapping[str, str] = field(default_factory=dict)
    target: str = ""

    def is_of(self, session: SessionSettings) -> bool:
        """Whether it is the plan of that session, whatever became of it."""
        return (self.path, self.target) == (session.path, session.target)
