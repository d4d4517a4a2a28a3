"""What a TOML file says; pure. `tomllib`, and an error wherever that would end in a traceback."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

_BITS = 63  # and a sign: what TOML promises (https://toml.io/en/v1.0.0#integer)
# Python makes no number of more decimal digits out of text (sys.set_int_max_str_digits).
_TOO_MANY_DIGITS = re.compile(r"(?:\d_?){4301,}")
_TABLE = re.compile(r"^\s*\[+\s*([^\[\]\n]+?)\s*\]+", re.MULTILINE)
_KEY = re.compile(r"\s*([\w.-]+)\s*=")


def parse_toml(text: str) -> dict[str, Any]:
    """Raises ValueError, which says where, for what is no TOML or has too large a number."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("arrays or tables are in each other too deep") from None
    except ValueError:
        if (number := _TOO_MANY_DIGITS.search(text)) is None:
            raise
        raise ValueError(_too_large(_place(text, number.start()))) from None
    for key in _beyond(raw, ""):
        raise ValueError(_too_large(key))
    return raw


def _too_large(where: str) -> str:
    return f"{where}: the number is too large: TOML has integers of 64 bits"


def _place(text: str, position: int) -> str:
    """The dotted key of a number, or its line if no key is there."""
    begin = text.rfind("\n", 0, position) + 1
    if (key := _KEY.match(text, begin)) is None:
        return f"line {text.count(chr(10), 0, position) + 1}"
    *_, table = ("", *_TABLE.findall(text, 0, begin))
    return f"{table}.{key[1]}" if table else key[1]


def _beyond(value: object, key: str) -> Iterator[str]:
    """The dotted keys of all integers that TOML need not have."""
    match value:
        case dict():
            for name, inner in value.items():
                yield from _beyond(inner, f"{key}.{name}" if key else name)
        case list():
            for number, inner in enumerate(value):
                yield from _beyond(inner, f"{key}.{number}")
        case int() if value.bit_length() > _BITS:
            yield key
