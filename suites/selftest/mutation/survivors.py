"""The mutants that survive, each with its reason; a reason that has become idle is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from suites.selftest.mutation.mutants import Mutant

FILE = Path(__file__).parent / "survivors.toml"


@dataclass(frozen=True)
class Explained:
    """Why mutants of one line survive: `now` are the lines that they make of it."""

    module: str
    function: str
    was: str
    now: tuple[str, ...]
    reason: str

    def covers(self, mutant: Mutant) -> bool:
        return (mutant.function, mutant.was) == (self.function, self.was) and mutant.now in self.now


def explained(file: Path = FILE) -> list[Explained]:
    """All that the file says."""
    entries = tomllib.loads(file.read_text()).get("survivor", [])
    return [Explained(**{**entry, "now": tuple(entry["now"])}) for entry in entries]


def unexplained(survivors: Iterable[Mutant], reasons: Sequence[Explained]) -> list[Mutant]:
    """Those without a reason."""
    return [one for one in survivors if not any(reason.covers(one) for reason in reasons)]


def idle(survivors: Sequence[Mutant], reasons: Sequence[Explained]) -> list[str]:
    """What reasons are given for, and does not survive: it was killed, or is not there."""
    there = {(mutant.function, mutant.was, mutant.now) for mutant in survivors}
    return [
        f"{reason.function}: {now}"
        for reason in reasons
        for now in reason.now
        if (reason.function, reason.was, now) not in there
    ]


def as_entry(module: str, mutant: Mutant) -> str:
    """A mutant as it is to be written into the file."""
    return "\n".join(
        [
            "[[survivor]]",
            f"module = {_quoted(module)}",
            f"function = {_quoted(mutant.function)}",
            f"was = {_quoted(mutant.was)}",
            f"now = [{_quoted(mutant.now)}]",
            'reason = ""',
        ]
    )


def _quoted(text: str) -> str:
    if "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
