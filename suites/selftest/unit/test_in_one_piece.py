"""What runs on machines is joined of several sources, by several threads at once."""

from __future__ import annotations

import ast
import threading
import time
from types import SimpleNamespace

import pytest

from harness import in_one_piece
from harness.concurrency import side_by_side
from harness.in_one_piece import joined

PART = """import os
from harness.workload.reader import (
    ANSWERS,
    Place,
)


def one() -> str:
    return os.sep


if __name__ == "__main__":
    one()
"""
PROGRAM = "import sys\n\nfrom harness.units import KIB\n\nsys.exit(one())"


def test_only_the_last_part_runs() -> None:
    """And none imports the harness."""
    program = joined([PART, PROGRAM])
    assert "harness" not in program
    assert "__main__" not in program
    assert program.endswith("sys.exit(one())")
    assert [type(node) for node in ast.parse(program).body] == [
        *(ast.Import, ast.FunctionDef),
        *(ast.Import, ast.Expr),
    ]


def test_a_part_that_defines_only_keeps_its_end() -> None:
    """A condition of its own stays, too."""
    assert joined(["x = 1", "print(x)"]) == "x = 1\n\nprint(x)"
    assert joined(["if old:\n    x = 1", "print(x)"]) == "if old:\n    x = 1\n\nprint(x)"


def test_no_two_threads_parse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.11 fails then, now and then: testbeds start several programs side by side."""
    busy, met = threading.Lock(), []

    def parsing(source: str) -> ast.Module:
        met.append(busy.acquire(blocking=False))
        time.sleep(0.02)
        if met[-1]:
            busy.release()
        return ast.parse(source)

    seen = SimpleNamespace(parse=parsing, ImportFrom=ast.ImportFrom, If=ast.If)
    monkeypatch.setattr(in_one_piece, "ast", seen)
    side_by_side(
        *(lambda n=number: joined([f"first = {n}", f"second = {n}"]) for number in range(4))
    )
    assert met == [True] * 8
