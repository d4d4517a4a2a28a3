"""Choosing faults by an expression of words, as pytest chooses tests by `-m`."""

from __future__ import annotations

from collections.abc import Sequence

from _pytest.mark.expression import Expression

from harness.errors import ConfigError
from harness.faults.catalogue import WORDS, Planned

_HINT = "`pathproof faults` lists the words of each fault; they are joined by and, or, not and ()"


def select(every: Sequence[Planned], expression: str) -> tuple[Planned, ...]:
    """Those that an expression such as "silent and not target" is true of, in their order.

    Capital letters are as good as small ones. What is damaging is chosen only if the expression has
    that word, or names the fault or its kind. Raises ConfigError if the expression is malformed,
    has a word that no fault is known by, or is true of none.
    """
    try:
        compiled = Expression.compile(expression)
    except SyntaxError as error:
        raise ConfigError(f"{expression!r} is no expression: {error.msg}", hint=_HINT) from None
    known = {word.lower() for one in every for word in one.words} | set(map(str.lower, WORDS))
    if strange := sorted(word for word in compiled.idents() if word.lower() not in known):
        raise ConfigError(f"no fault is known by the word {strange[0]!r}", hint=_HINT)
    named = {word.lower() for word in compiled.idents()}
    chosen = tuple(
        one
        for one in every
        if compiled.evaluate(_Words(one))
        and (not one.kind.damaging or named & set(map(str.lower, one.own_words)))
    )
    if not chosen:
        raise ConfigError(f"no fault of this testbed is {expression!r}", hint=_HINT)
    return chosen


class _Words:
    """Says of a word whether a fault has it."""

    def __init__(self, one: Planned) -> None:
        self._words = {word.lower() for word in one.words}

    def __call__(self, name: str, /, **arguments: str | int | bool | None) -> bool:
        if arguments:
            raise ConfigError(f"{name!r} takes no arguments", hint=_HINT)
        return name.lower() in self._words
