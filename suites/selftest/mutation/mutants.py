"""The mutants of a module: its source with one small change, made by an operator of cosmic-ray.

These are left out by rule, and not counted:

- annotations, which are never evaluated (`from __future__ import annotations`);
- what is no program: Python cannot compile it;
- of operators all but the opposite and the nearest one: who sees `<` become `<=` sees `<` become
  `!=` as well, and `is` for `==` is the same for all members of an enum;
- whether a dataclass is frozen: that is for mypy, and nothing in the harness tries to change one.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from suites.selftest.mutation.digest import digest_of

_OF_AN_OPERATOR = re.compile(r"Replace(?:Binary|Comparison)Operator_(?P<pair>\w+)")
_PAIRS = {
    *("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Div", "Mod_FloorDiv", "Pow_Mul"),
    *("LShift_RShift", "RShift_LShift", "BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitOr"),
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
    *("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
}
# What parso calls the parents of an operator between two operands. Others are those of a star or
# a slash, as in `def f(*, a)` and `{**d}`.
_OF_TWO = {"expr", "xor_expr", "and_expr", "shift_expr", "arith_expr", "term", "power"}

Span = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, in which function, and the lines as they were and as they are."""

    operator: str
    occurrence: int
    span: Span
    function: str
    was: str
    now: str

    @property
    def key(self) -> str:
        """Names it among the mutants of the same source."""
        return f"{self.operator}:{self.occurrence}"

    def code(self, text: str) -> str:
        """The source that it makes of the one that it is of."""
        made = mutate_code(text, get_operator(f"core/{self.operator}")(), self.occurrence)
        assert made is not None
        return str(made)


@dataclass(frozen=True)
class Source:
    """The source of a module, and which parts of it no mutant is made of."""

    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def never_run(self) -> list[Span]:
        """Annotations, and the word `frozen=True` of a dataclass."""
        found: list[ast.expr] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
                found.append(node.returns)
            elif isinstance(node, ast.ClassDef):
                words = (one for called in node.decorator_list for one in _words(called))
                found += [word.value for word in words if word.arg == "frozen"]
            elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
                found.append(node.annotation)
        return [self._span(node) for node in found]

    def _span(self, node: ast.expr) -> Span:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = node.lineno, self._column(node.lineno, node.col_offset)
        return start, (node.end_lineno, self._column(node.end_lineno, node.end_col_offset))

    def _column(self, line: int, offset: int) -> int:
        """`ast` counts bytes, parso characters."""
        return len(self.text.splitlines()[line - 1].encode()[:offset].decode())

    def statement(self, line: int) -> range:
        """The lines of the smallest statement around a line; of a compound one its head only."""
        best = range(line, line + 1)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.stmt) and node.lineno <= line <= _end_of_head(node):
                lines = range(node.lineno, _end_of_head(node) + 1)
                best = lines if len(best) == 1 or len(lines) < len(best) else best
        return best

    def at_import(self, line: int) -> bool:
        """Whether a line runs when the module is imported: it is in no function's body."""
        bodies = (
            range(node.body[0].lineno, (node.end_lineno or 0) + 1)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )
        return not any(line in body for body in bodies)


def _words(called: ast.expr) -> list[ast.keyword]:
    """The keyword arguments of `@dataclass(…)`."""
    if isinstance(called, ast.Call) and isinstance(called.func, ast.Name):
        return called.keywords if called.func.id == "dataclass" else []
    return []


def _end_of_head(node: ast.stmt) -> int:
    body: list[ast.stmt] = getattr(node, "body", [])
    if not body:
        return node.end_lineno or node.lineno
    decorators: list[ast.expr] = getattr(body[0], "decorator_list", [])
    first = min([body[0].lineno, *(one.lineno for one in decorators)])
    return max(node.lineno, first - 1)


def mutants_of(text: str) -> Iterator[Mutant]:
    """Each mutant of a source that can make a difference, always in the same order."""
    source, nodes = Source(text), list(ast_nodes(get_ast(text)))
    for name in operator_names():
        kind = get_operator(name)
        pair = _OF_AN_OPERATOR.search(name)
        if kind.arguments() or (pair and pair["pair"] not in _PAIRS):
            continue
        operator = kind()
        places = ((node, span) for node in nodes for span in operator.mutation_positions(node))
        for occurrence, (node, span) in enumerate(places):
            if "BinaryOperator" in name and node.parent.type not in _OF_TWO:
                continue
            if any(start <= span[0] and span[1] <= end for start, end in source.never_run):
                continue
            code = mutate_code(text, kind(), occurrence)
            if code is not None and code != text and _is_a_program(code):
                short = name.removeprefix("core/")
                function = ASTQuery(node).get_definition_name() or ""
                yield Mutant(short, occurrence, span, function, *difference(text, code))


def kept_mutants_of(text: str, file: Path) -> list[Mutant]:
    """The same, from the file if they are of this very source; to make them takes seconds."""
    digest = digest_of([text, Path(__file__).read_text()])
    kept = json.loads(file.read_text()) if file.exists() else {}
    if kept.get("of") == digest:
        return [Mutant(**{**one, "span": _as_span(one["span"])}) for one in kept["mutants"]]
    mutants = list(mutants_of(text))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"of": digest, "mutants": [asdict(one) for one in mutants]}))
    return mutants


def _as_span(kept: list[list[int]]) -> Span:
    (line, column), (last, end) = kept
    return (line, column), (last, end)


def _is_a_program(code: str) -> bool:
    try:
        compile(code, "mutant", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def difference(before: str, after: str) -> tuple[str, str]:
    """The lines that differ, each side in one line without its indentation."""
    old, new = before.splitlines(), after.splitlines()
    pairs = zip(old, new, strict=False)
    first = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(old), len(new)))
    pairs = zip(reversed(old[first:]), reversed(new[first:]), strict=False)
    rest = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(old), len(new)) - first)
    return _in_one_line(old[first : len(old) - rest]), _in_one_line(new[first : len(new) - rest])


def _in_one_line(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
