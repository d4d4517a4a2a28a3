"""The figures of modules, on the terminal and in docs/mutation.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from suites.selftest.mutation.child import TOP
from suites.selftest.mutation.scoring import Scored

PAGE = TOP / "docs/mutation.md"
_HEAD = """\
| module | mutants | killed | survivors explained | score |
| --- | ---: | ---: | ---: | ---: |"""
_ROW = re.compile(r"^\| `(harness/\S+)` \| (\d+) \| (\d+) \| (\d+) \|")
_TABLE = re.compile(r"^\| module \|(?:.*\n)(?:\|.*\n)+", re.MULTILINE)


def row(scored: Scored) -> str:
    """The figures of a module as a row of the table."""
    return _row(scored.path, len(scored.mutants), scored.killed, scored.explained)


def _row(path: str, mutants: int, killed: int, explained: int) -> str:
    return f"| `{path}` | {mutants} | {killed} | {explained} | {_share(killed, mutants)} |"


def _share(killed: int, mutants: int) -> str:
    return f"{100 * killed / mutants:.1f} %" if mutants else "-"


def summary(scored: Iterable[Scored]) -> str:
    """All of them together, in a sentence."""
    sums = [(len(one.mutants), len(one.results), one.killed, one.explained) for one in scored]
    mutants, tried, killed, explained = map(sum, zip(*sums, strict=True)) if sums else (0,) * 4
    return (
        f"{tried} of {mutants} mutants tried, {killed} killed ({_share(killed, tried)}), "
        f"{tried - killed} survive, {explained} of these explained"
    )


def updated(text: str, paths: Sequence[str], scored: Iterable[Scored]) -> str:
    """The page with new rows for these, in the order of all paths, and the sum of all rows."""
    rows = {found[1]: line for line in text.splitlines() if (found := _ROW.match(line))}
    rows |= {one.path: row(one) for one in scored}
    lines = [rows[path] for path in paths if path in rows]
    counts = [tuple(map(int, one.groups()[1:])) for line in lines if (one := _ROW.match(line))]
    mutants, killed, explained = map(sum, zip(*counts, strict=True)) if counts else (0, 0, 0)
    total = f"| all of these | {mutants} | {killed} | {explained} | {_share(killed, mutants)} |"
    return _TABLE.sub(lambda _: "\n".join([_HEAD, *lines, total, ""]), text, count=1)


def update(paths: Sequence[str], scored: Iterable[Scored]) -> None:
    """Write it."""
    PAGE.write_text(updated(PAGE.read_text(), paths, scored))
