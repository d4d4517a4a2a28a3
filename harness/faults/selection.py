"""Choosing faults by an expression of words, as pytest chooses tests by `-m`."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Sequence

from harness.errors import ConfigError
from harness.faults.catalogue import WORDS, PlannedFault

_HINT = "`pathproof faults` lists the words of each fault; they are joined by and, or, not and ()"
_TOKEN = re.compile(r"[()]|[^\s()]+")
_JOINING = frozenset({"and", "or", "not", "(", ")"})


def select(every: Sequence[PlannedFault], expression: str) -> tuple[PlannedFault, ...]:
    """Those that an expression such as "silent and not target" is true of, in their order.

    Capital letters are as good as small ones. What is damaging is chosen only if the expression has
    that word, or names the fault or its kind. Raises ConfigError if the expression is malformed,
    has a word that no fault is known by, or is true of none.
    """
    tree, words = _parsed(expression)
    known = {word.lower() for one in every for word in one.words} | set(map(str.lower, WORDS))
    if strange := sorted(word for word in words if word.lower() not in known):
        raise ConfigError(f"no fault is known by the word {strange[0]!r}", hint=_HINT)
    named = [word.lower() for word in words]
    chosen = tuple(
        one
        for one in every
        if _holds(tree, named, set(map(str.lower, one.words)))
        and (not one.kind.damaging or set(named) & set(map(str.lower, one.own_words)))
    )
    if not chosen:
        raise ConfigError(f"no fault of this testbed is {expression!r}", hint=_HINT)
    return chosen


def _parsed(expression: str) -> tuple[ast.expr, list[str]]:
    """Its tree, in which the name `_2` is for the third of its words, and the words.

    A word may have any character but spaces and brackets; Python's parser wants names.
    """
    words: list[str] = []
    tokens: list[str] = []
    for token in _TOKEN.findall(expression):
        if token in _JOINING:
            tokens.append(token)
        else:
            tokens.append(f"_{len(words)}")
            words.append(token)
    try:
        tree = ast.parse(" ".join(tokens), mode="eval").body
    except SyntaxError:
        tree = None
    allowed = (ast.BoolOp, ast.UnaryOp, ast.Name, ast.And, ast.Or, ast.Not, ast.Load)
    if tree is None or not all(isinstance(node, allowed) for node in ast.walk(tree)):
        raise ConfigError(f"{expression!r} is no expression of words", hint=_HINT)
    return tree, words


def _holds(tree: ast.expr, named: Sequence[str], words: Collection[str]) -> bool:
    """Whether it is true of a fault that has these words."""
    match tree:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_holds(part, named, words) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_holds(part, named, words) for part in parts)
        case ast.UnaryOp(operand=part):
            return not _holds(part, named, words)
        case ast.Name(id=name):
            return named[int(name.removeprefix("_"))] in words
    raise AssertionError(ast.dump(tree))
