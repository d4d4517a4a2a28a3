"""One line of what the doctor has to say."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """OK; not as it should be, but a run can work; no run can work."""

    OK = "✓"
    WARNING = "!"
    PROBLEM = "✗"


_ASCII = {Level.OK: "+", Level.WARNING: "!", Level.PROBLEM: "x"}
COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


@dataclass(frozen=True)
class Diagnosis:
    """What `subject` is like, and how to put it right where it is not."""

    level: Level
    subject: str
    text: str
    fix: str = ""


def mark(level: Level, encoding: str | None) -> str:
    """A character that tells the level, also where only ASCII can be shown."""
    try:
        level.value.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):  # LookupError: Python does not know the encoding
        return _ASCII[level]
    return level.value


def conclusion(diagnoses: Iterable[Diagnosis], options: Sequence[str] = ()) -> str:
    """The last line: whether a run can work, and the one for which `options` were given."""
    levels = [diagnosis.level for diagnosis in diagnoses]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    if problems:
        what = "one problem" if problems == 1 else f"{problems} problems"
        return f"no run can work here: {what} to solve first"
    return f"ready: `{shlex.join(['pytest', 'suites/failover', *options])}`" + (
        f" ({warnings} warning{'s' if warnings > 1 else ''})" if warnings else ""
    )
