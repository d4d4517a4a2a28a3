"""What a TOML file says; pure. `tomllib`, and an error wherever that would end in a traceback."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

# TOML promises integers from minus this up to it (https://toml.io/en/v1.0.0#integer).
_LIMIT = 1 << 63
_DEEPEST = 50  # no configuration comes near it, and Python ends at a thousand calls
# Python makes no number of more decimal digits out of text (sys.set_int_max_str_digits). Those of
# strings and comments are no numbers.
_TOO_MANY_DIGITS = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''.*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|(?P<digits>(?:\d_?){4301,})",
    re.DOTALL,
)
_TOO_DEEP = "arrays or tables are nested too deeply"
_TABLE = re.compile(r"^\s*\[+\s*([^\[\]\n]+?)\s*\]+", re.MULTILINE)
_KEY = re.compile(r"\s*([\w.-]+)\s*=")


def parse_toml(text: str) -> dict[str, Any]:
    """Raises ValueError, which says where, for what is no TOML or has too large a number."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError:
        if (position := _too_many_digits(text)) is None:
            raise
        raise ValueError(_too_large(_place(text, position))) from None
    for key in _beyond(raw, "", _DEEPEST):
        raise ValueError(_too_large(key))
    return raw


def _too_many_digits(text: str) -> int | None:
    """Where the first number begins that is too long for Python."""
    found = (match.start() for match in _TOO_MANY_DIGITS.finditer(text) if match["digits"])
    return next(found, None)


def _too_large(where: str) -> str:
    return f"{where}: the number is too large: TOML has integers of 64 bits"


def _place(text: str, position: int) -> str:
    """The dotted key of a number, or its line if no key is there."""
    begin = text.rfind("\n", 0, position) + 1
    if (key := _KEY.match(text, begin)) is None:
        return f"line {text.count(chr(10), 0, position) + 1}"
    *_, table = ("", *_TABLE.findall(text, 0, begin))
    return f"{table}.{key[1]}" if table else key[1]


def _beyond(value: object, key: str, deeper: int) -> Iterator[str]:
    """The dotted keys of all integers that TOML need not have.

    Raises ValueError for more than `deeper` levels.
    """
    if not deeper:
        raise ValueError(_TOO_DEEP)
    match value:
        case dict():
            for name, inner in value.items():
                yield from _beyond(inner, f"{key}.{name}" if key else name, deeper - 1)
        case list():
            for number, inner in enumerate(value):
                yield from _beyond(inner, f"{key}.{number}", deeper - 1)
        case int() if not -_LIMIT <= value < _LIMIT:
            yield key
