"""Programs for the initiator that use parts of the reader, each in one piece with it."""

from __future__ import annotations

import ast
from importlib.resources import files


def sweeper() -> str:
    """The source of `sweeper.py`, for `python3 -c`."""
    return _after_the_reader(files("harness.workload").joinpath("sweeper.py").read_text())


def keeper() -> str:
    """The source of `keeper.py`, for `python3 -c`."""
    identity = files("harness.workload").joinpath("identity.py").read_text()
    keeper = files("harness.workload").joinpath("keeper.py").read_text()
    return _after_the_reader(f"{identity}\n\n{keeper}")


def _after_the_reader(program: str) -> str:
    reader = files("harness.workload").joinpath("reader.py").read_text()
    return f"{_without(reader, main=True)}\n\n{_without(program)}"


def _without(source: str, *, main: bool = False) -> str:
    """A source without imports of this project, or without its last statement."""
    tree = ast.parse(source).body
    gone: list[ast.stmt] = [node for node in tree if _is_of_this_project(node)]
    gone += tree[-1:] * main
    lines = {n for node in gone for n in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return "\n".join(line for n, line in enumerate(source.splitlines(), 1) if n not in lines)


def _is_of_this_project(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and str(node.module).startswith("harness")
