"""Sources in one piece, as arguments of `python3 -c` on machines that have no harness."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterable
from functools import cache

# CPython 3.11 counts the depth of a tree for all threads together: of several that parse at once
# some fail (SystemError: "AST constructor recursion depth mismatch").
_parsing = threading.Lock()


def joined(parts: Iterable[str]) -> str:
    """The parts one after the other, without what they import of this project.

    The one that runs comes last: the others lose their `if __name__ == "__main__"`.
    """
    *others, last = parts
    return "\n\n".join([*(_bare(source, main=False) for source in others), _bare(last, main=True)])


@cache
def _bare(source: str, *, main: bool) -> str:
    with _parsing:
        tree = ast.parse(source).body
    gone: list[ast.stmt] = [node for node in tree if _is_of_this_project(node)]
    if not main:
        gone += [node for node in tree if _is_about_main(node)]
    lines = {n for node in gone for n in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return "\n".join(line for n, line in enumerate(source.splitlines(), 1) if n not in lines)


def _is_about_main(node: ast.stmt) -> bool:
    """Whether it is `if __name__ == …`."""
    return isinstance(node, ast.If) and any(
        isinstance(name, ast.Name) and name.id == "__name__" for name in ast.walk(node.test)
    )


def _is_of_this_project(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and str(node.module).startswith("harness")
