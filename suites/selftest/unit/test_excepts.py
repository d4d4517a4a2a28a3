"""No `except` takes a programming error for anything else, and every exception has its reason.

ruff (BLE) knows `Exception` and `BaseException`, not groups, nor what else only defects raise.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
SOURCES = [TOP / "conftest.py", *sorted((TOP / "harness").rglob("*.py"))]

# Who catches one of these raises it again, or says on the line why not.
BROAD = {"Exception", "BaseException", "ExceptionGroup", "BaseExceptionGroup"}
DEFECTS = {
    *("ArithmeticError", "AssertionError", "AttributeError", "IndexError", "LookupError"),
    *("NameError", "NotImplementedError", "RuntimeError", "TypeError"),
}
DIRECTIVE = re.compile(r"#\s*(?:noqa\b(?::\s*[A-Z0-9, ]+)?|type:\s*ignore\b(?:\[[^]]*\])?)")


def comments(source: str) -> dict[int, str]:
    """The comment of each line that has one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def reason(comment: str) -> str:
    """What a comment says to people."""
    return DIRECTIVE.sub("", comment).strip("# ")


def names(caught: ast.expr | None) -> set[str]:
    """The last part of every name: `socket.error` is `error`; a bare `except` is all."""
    if caught is None:
        return {"BaseException"}
    found = (node for node in ast.walk(caught) if isinstance(node, ast.Name | ast.Attribute))
    return {node.id if isinstance(node, ast.Name) else node.attr for node in found}


def swallowing(source: str) -> Iterator[str]:
    """Lines that catch too much, raise nothing at their end and give no reason."""
    said = comments(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            last = node.body[-1]
            raised_again = isinstance(last, ast.Raise) and last.exc is None
            line, caught = node.lineno, set() if raised_again else names(node.type)
        elif isinstance(node, ast.Call) and "suppress" in names(node.func):
            line, caught = node.lineno, set().union(*map(names, node.args))
        else:
            continue
        if caught & (BROAD | DEFECTS) and not reason(said.get(line, "")):
            yield f"{line}: {', '.join(sorted(caught))}"


def unexplained(source: str) -> Iterator[str]:
    """Lines that silence a linter or mypy and do not say why."""
    for line, comment in comments(source).items():
        if DIRECTIVE.search(comment) and not reason(comment):
            yield f"{line}: {comment}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(TOP)))
def test_nothing_swallows_a_programming_error(path: Path) -> None:
    assert list(swallowing(path.read_text())) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(TOP)))
def test_what_is_silenced_has_its_reason_on_the_line(path: Path) -> None:
    assert list(unexplained(path.read_text())) == []


@pytest.mark.parametrize(
    "clause",
    [
        "except:",
        "except Exception:",
        "except (OSError, ExceptionGroup) as e:",
        "except* TypeError:",
        "except builtins.AttributeError:",
        "except BaseException:  # noqa: BLE001",
    ],
)
def test_this_test_sees_what_swallows(clause: str) -> None:
    assert len(list(swallowing(f"try:\n    f()\n{clause}\n    g()\n"))) == 1
    assert list(swallowing(f"try:\n    f()\n{clause}\n    g()\n    raise\n")) == []
    assert list(swallowing(f"try:\n    f()\n{clause}  # it is told\n    g()\n")) == []


def test_this_test_sees_what_is_suppressed_and_silenced() -> None:
    assert len(list(swallowing("with contextlib.suppress(Exception): f()"))) == 1
    assert list(swallowing("with suppress(OSError, KeyError): f()")) == []
    assert len(list(unexplained("f()  # noqa\ng()  # noqa: A001\nh()  # type: ignore[x]\n"))) == 3
    assert list(unexplained("f()  # noqa: A001  # why\ng()  # type: ignore[x]  # why\n")) == []
