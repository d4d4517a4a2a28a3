"""Write TOML, as far as configurations need it: tables, lists of tables, plain values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping


def dumps(table: Mapping[str, object]) -> str:
    """`table` as TOML, which has no word for None: such keys are left out."""
    return "\n".join(_lines(table, "")).strip() + "\n"


def _lines(table: Mapping[str, object], prefix: str) -> Iterator[str]:
    inner: list[tuple[str, object]] = []
    for key, value in table.items():
        if isinstance(value, dict) or (isinstance(value, list) and _are_tables(value)):
            inner.append((key, value))
        elif value is not None:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in inner:
        name = f"{prefix}{_key(key)}"
        if isinstance(value, dict):
            yield from ("", f"[{name}]", *_lines(value, f"{name}."))
        elif isinstance(value, list):
            for one in value:
                yield from ("", f"[[{name}]]", *_lines(one, f"{name}."))


def _are_tables(value: list[object]) -> bool:
    return bool(value) and all(isinstance(one, dict) for one in value)


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else _value(key)


def _value(value: object) -> str:
    """A basic string of TOML is written as JSON's, but DEL, which must be escaped, is not."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
