"""Where in a file something is, as its reader would say it: by names, and counted from 1; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

# What is in these lists has a name. LUNs are called by their number from 0 on, as everywhere.
_SINGULAR = {
    "networks": "network",
    "controllers": "controller",
    "initiators": "initiator",
    "callouts": "callout",
}
_KEY = re.compile(
    rf"\b({'|'.join(_SINGULAR)})\.(\d+)(?:\.portals\.(\d+))?(?:\.(\w+(?:\.\w+)*))?(?=[:'\s]|$)"
)
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_TABLE = re.compile(r"^[ \t]*\[[ \t]*(\w+)[ \t]*\]", re.MULTILINE)


def in_words(text: str, raw: Mapping[str, Any]) -> str:
    """`text` with its keys as people say them: `networks.1.mtu` is "network b, mtu".

    What has no name of its own is counted from 1 on: "network 2, portal 1, address".
    """

    def said(found: re.Match[str]) -> str:
        table, place, portal, key = found.groups()
        one = f"{_SINGULAR[table]} {_name(raw.get(table), int(place)) or int(place) + 1}"
        parts = [one, f"portal {int(portal) + 1}" if portal else "", key]
        return ", ".join(filter(None, parts))

    return _KEY.sub(said, text)


def _name(entries: object, place: int) -> str:
    """The name of an entry that no other one has, and that can be one; else ""."""
    if not isinstance(entries, list | tuple):
        return ""
    names = [one.get("name") if isinstance(one, dict) else None for one in entries]
    name = names[place] if place < len(names) else None
    good = isinstance(name, str) and _NAME.fullmatch(name) and names.count(name) == 1
    return str(name) if good else ""


def lists_of_tables(model: type[BaseModel]) -> set[str]:
    """The keys of `model` that a file writes in double brackets."""
    return {
        name
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is tuple
        and any(
            isinstance(t, type) and issubclass(t, BaseModel) for t in get_args(field.annotation)
        )
    }


def brackets_wanted(text: str, model: type[BaseModel]) -> str:
    """What to say of a table of a TOML file that is in single brackets by mistake; else ""."""
    wrong = dict.fromkeys(t for t in _TABLE.findall(text) if t in lists_of_tables(model))
    return "; ".join(double_brackets(name) for name in wrong)


def double_brackets(name: str) -> str:
    """What to say of the one table that is a list."""
    meant = ", or [initiator] for the one that every testbed has" if name == "initiators" else ""
    return f"there may be several, so write [[{name}]] instead of [{name}]{meant}"
