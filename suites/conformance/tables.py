"""The tables of docs/targets.md, which runs may write: a row for each kind of target."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from suites import pages

PAGE = Path(__file__).parents[2] / "docs/targets.md"
NOTHING = "-"


@dataclass(frozen=True)
class Table:
    """A table whose rows are kinds; `columns` are its other columns, which find it in the page."""

    columns: tuple[str, ...]

    @property
    def header(self) -> str:
        return f"{_line(('kind', *self.columns))}\n|{'---|' * (len(self.columns) + 1)}\n"

    def updated(self, text: str, kind: str, cells: Mapping[str, str]) -> str:
        """`text` with those cells in the row of `kind`. Raises ValueError without the table."""
        head, found, below = text.partition(self.header)
        if not found:
            raise ValueError(f"there is no table {self.header.splitlines()[0]}")
        old = "".join(itertools.takewhile(_is_row, below.splitlines(keepends=True)))
        rows = {}
        for line in old.splitlines():
            name, *values = (value.strip() for value in line.strip("|").split("|"))
            rows[name] = dict(zip(self.columns, values, strict=True))
        rows[kind] = dict.fromkeys(self.columns, NOTHING) | rows.get(kind, {}) | dict(cells)
        lines = [f"{_line((name, *rows[name].values()))}\n" for name in sorted(rows)]
        return head + found + "".join(lines) + below.removeprefix(old)

    def note(self, kind: str, cells: Mapping[str, str]) -> None:
        """Put what was seen into the page, if the run was asked to."""
        pages.change(PAGE, lambda text: self.updated(text, kind, cells))


def _is_row(line: str) -> bool:
    return line.startswith("|")


def _line(values: tuple[str, ...]) -> str:
    return f"| {' | '.join(values)} |"


CAPABILITIES = Table(
    ("ALUA", "persistent reservations", "UNMAP", "COMPARE AND WRITE", "CHAP", "mutual CHAP")
)
FIGURES = Table(
    (
        "stall, LinkDown",
        "stall, SilentDrop",
        "sequential read",
        "sequential write",
        "random read",
        "random write",
        "measured on",
    )
)
