"""Defaults, then a TOML file, then options: merged, validated, each value with its origin."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.config.base import type_parts
from harness.config.credentials import ENVIRONMENT, ChapConfig, from_environment, from_file
from harness.config.kinds import require_kind
from harness.config.model import Config
from harness.config.places import brackets_wanted, double_brackets, in_words, lists_of_tables
from harness.config.ready import ready_topologies
from harness.config.toml import parse_toml
from harness.errors import ConfigError

DEFAULT_FILE = Path("pathproof.toml")


@dataclass(frozen=True)
class Setting:
    """One effective value: its dotted key and where it comes from."""

    key: str
    value: object
    origin: str


@dataclass(frozen=True)
class Loaded:
    """A valid configuration and the origin of each of its values."""

    config: Config
    origins: Mapping[str, str]

    def settings(self) -> Iterator[Setting]:
        """Every value, in the order of the models."""
        for key, value in _leaves(self.config.model_dump(mode="json"), ""):
            yield Setting(key, value, self._origin(key))

    def _origin(self, key: str) -> str:
        matches = [known for known in self.origins if key == known or key.startswith(known + ".")]
        return self.origins[max(matches, key=len)] if matches else "default"


def load(
    file: Path | None = None, options: Mapping[str, tuple[object, str]] | None = None
) -> Loaded:
    """The configuration from `file` and `options`.

    `file` None means `pathproof.toml` in the current folder if there is one. `options` maps a
    dotted key to its value and the option's name, such as `{"target.kind": ("lio", "--target")}`.
    CHAP credentials come from the file that `target.credentials` names, else from the environment.
    Raises ConfigError that names the file or option, the key, and what is allowed.
    """
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    raw = _read(file) if file else {}
    if file:
        require_kind(raw, "testbed", file)
    _refuse_lasting_consent(raw)
    _refuse_fabrics(raw, file)
    origins = {key: str(file) for key, _ in _leaves(raw, "")}
    for key, (value, option) in (options or {}).items():
        _put(raw, key.split("."), value)
        origins[key] = option
    origins |= _fill_in_topology(raw, origins)
    if file:
        origins |= _fill_in_folders(raw, file)
    if (found := _credentials(raw, origins)) is not None:
        chap, origins["target.chap"] = found
        _put(raw, ["target", "chap"], chap)
    try:
        return Loaded(Config.model_validate(raw), origins)
    except ValidationError as error:
        source = str(file) if file else "options"
        raise config_error(error, Config, origins, source, raw) from None


def _read(file: Path) -> dict[str, Any]:
    text = ""
    try:
        text = file.read_text()
        return parse_toml(text)
    except OSError as error:
        raise ConfigError(
            f"{file}: {error.strerror}", hint="give an existing file to --testbed"
        ) from None
    except ValueError as error:  # UnicodeDecodeError is one, too
        # The same name in both kinds of brackets, or twice in single ones, is no TOML.
        hint = brackets_wanted(text, Config)
        raise ConfigError(f"{file}: not valid TOML: {error}", hint=hint) from None


def _refuse_lasting_consent(raw: Mapping[str, Any]) -> None:
    target = raw.get("target")
    if isinstance(target, dict) and "erase" in target:
        raise ConfigError(
            "target.erase: that data may be lost is said once, and not in a file",
            hint="give --erase WWID to the run that may do it",
        )


def _refuse_fabrics(raw: Mapping[str, Any], file: Path | None) -> None:
    if "fabrics" in raw:
        raise ConfigError(
            f"{file}: [[fabrics]] is now [[networks]]: `target` is `portals`, a list; `network` is "
            "`libvirt_network`; `access_state` is that of one of [[controllers]]"
        )


def _fill_in_topology(raw: dict[str, Any], origins: Mapping[str, str]) -> dict[str, str]:
    """Put what a ready topology says below what is given; returns the origins of its values.

    Raises ConfigError for a name that is none, and beside networks, controllers, LUNs or further
    initiators in place of which it is.
    """
    if "topology" not in raw:
        return {}
    name, ready = raw["topology"], ready_topologies()
    # Of a table, which it must not be, each value has its origin.
    where = next(found for key, found in origins.items() if key.partition(".")[0] == "topology")
    if name not in list(ready):  # it may be of any type
        key = "" if where == "--topology" else "topology: "
        raise ConfigError(f"{where}: {key}{name!r} is none of {', '.join(ready)}")
    several = [key for key in ("luns", "initiators") if key in ready[name]]
    replaced = ("networks", "controllers", *several)
    if given := [key for key in replaced if key in raw]:
        raise ConfigError(
            f"{where}: topology: {name!r} has its own {' and '.join(given)}; give one or the other",
            # Without the file that is refused here, which may be the one of this folder.
            hint=f"`pathproof config --testbed /dev/null --topology {name} --toml` prints what "
            "can be changed",
        )
    filled: dict[str, str] = {}
    for key, value in _values(ready[name]):
        if key not in origins:
            _put(raw, key.split("."), value)
            filled[key] = f"topology {name}"
    return filled


def _fill_in_folders(raw: Mapping[str, Any], file: Path) -> dict[str, str]:
    """Where the commands of each callout run, by the folder of `file`; returns the origins."""
    tables = raw.get("callouts")
    filled: dict[str, str] = {}
    for number, table in enumerate(tables if isinstance(tables, list) else ()):
        if isinstance(table, dict) and isinstance(given := table.get("folder", ""), str):
            table["folder"] = str(file.parent.absolute() / given)
            filled[f"callouts.{number}.folder"] = str(file)
    return filled


def _values(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a TOML file by their dotted keys, where an array is one value."""
    for name, value in table.items():
        key = f"{above}{name}"
        if isinstance(value, dict):
            yield from _values(value, f"{key}.")
        else:
            yield key, value


def _credentials(
    raw: Mapping[str, Any], origins: Mapping[str, str]
) -> tuple[ChapConfig, str] | None:
    """CHAP names and secrets with their origin; None if there are none."""
    target = raw.get("target")
    if not isinstance(target, dict):
        target = {}  # validation will name the wrong type
    if "chap" in target:
        raise ConfigError(
            "target.chap: secrets do not belong into this file",
            hint="target.credentials names a file of its own for them",
        )
    named = target.get("credentials")
    if isinstance(named, str):
        file = _credentials_file(named, origins["target.credentials"])
        return from_file(file), str(file)
    chap = from_environment(os.environ)
    return (chap, ENVIRONMENT) if chap else None


def _credentials_file(named: str, origin: str) -> Path:
    refused = ConfigError(f"{origin}: target.credentials: {named!r} is not a file name")
    if "\0" in named:
        raise refused
    try:
        return Path(origin).parent / Path(named).expanduser()  # of an option: the current folder
    except RuntimeError:  # ~name of no user
        raise refused from None


def _put(raw: dict[str, Any], parts: list[str], value: object) -> None:
    for part in parts[:-1]:
        inner = raw.setdefault(part, {})
        if not isinstance(inner, dict):
            return  # validation will name the wrong type
        raw = inner
    raw[parts[-1]] = value


def _leaves(value: object, key: str) -> Iterator[tuple[str, object]]:
    match value:
        case dict() if value:
            for name, inner in value.items():
                yield from _leaves(inner, f"{key}.{name}" if key else str(name))
        case list() if value and isinstance(value[0], dict):
            for number, inner in enumerate(value):
                yield from _leaves(inner, f"{key}.{number}")
        case _:
            yield key, value


def config_error(
    error: ValidationError,
    model: type[BaseModel],
    origins: Mapping[str, str],
    source: str,
    raw: Mapping[str, Any] | None = None,
) -> ConfigError:
    """One readable ConfigError from pydantic's: each line names source, key and what is allowed.

    `raw` is what was validated: of it an entry of a list is named, instead of counted.
    """
    raw = raw or {}
    lines: list[str] = []
    for problem in error.errors():
        location = [str(part) for part in problem["loc"]]
        key = ".".join(location)
        where = origins.get(key, source)
        if problem["type"] == "extra_forbidden":
            allowed = allowed_keys(model, location[:-1])
            close = difflib.get_close_matches(location[-1], allowed, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            place, _, last = in_words(key, raw).rpartition(", ")
            at = f"{where}: {place}" if place else where
            lines.append(f"{at}: unknown key {last!r}{meant} (allowed: {', '.join(allowed)})")
        else:
            reason = _reason(problem)
            if len(location) == 1:
                reason = _of_brackets(problem, location[0], model) or reason
            if not key:  # what is wrong with several values together names one of them
                key, _, rest = reason.partition(": ")
                where = origins.get(key, source)
                key, reason = (key, rest) if rest else ("", reason)
            given = problem["input"]
            told = isinstance(given, dict | list) or repr(given) in reason
            named = "" if key in {"", where.removeprefix("--")} else f"{in_words(key, raw)}: "
            reason = in_words(reason, raw).removeprefix(named)
            lines.append(f"{where}: {named}{reason}{'' if told else f' (got {given!r})'}")
    return ConfigError("\n".join(lines), hint="docs/configuration.md describes every key")


_DEMANDS = {
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "multiple_of": "must be a multiple of {multiple_of:g}",
    "finite_number": "must be a finite number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "string_type": "must be text, in quotes",
    "string_too_short": "must not be empty",
    "path_type": "must be text, in quotes",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be a list",
    "too_long": "must have at most {max_length} items",
}


def _of_brackets(problem: ErrorDetails, name: str, model: type[BaseModel]) -> str:
    """What to say of a table in single brackets that is a list, or the reverse; else ""."""
    if name in lists_of_tables(model):
        return double_brackets(name) if isinstance(problem["input"], dict) else ""
    is_list = problem["type"] == "model_type" and isinstance(problem["input"], list)
    return f"there is only one, so write [{name}] instead of [[{name}]]" if is_list else ""


def _reason(problem: ErrorDetails) -> str:
    """What is wrong with a value, in the words of `_DEMANDS`, else in those of pydantic."""
    demand = _DEMANDS.get(problem["type"])
    if demand is None:
        return problem["msg"].removeprefix("Value error, ")
    return demand.format(**problem.get("ctx", {}))


def allowed_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """The keys that `model` knows at `location`, a path of keys and list indices."""
    for part in location:
        field = model.model_fields.get(part)
        if field is None:
            continue  # an index of a list or a name in a table
        model = next(
            (
                c
                for c in type_parts(field.annotation)
                if isinstance(c, type) and issubclass(c, BaseModel)
            ),
            model,
        )
    return [name for name, field in model.model_fields.items() if not field.exclude]
